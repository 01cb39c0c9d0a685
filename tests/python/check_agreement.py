"""Is kappa what others compute? Judges: statsmodels and scikit-learn (Cohen), statsmodels and irrCAC (Fleiss, weighted too).

`check_agreement.py tables FILE`: a line of JSON for each table, with what modicd says of it.
`check_agreement.py report GRADINGS.csv REPORT.json`: a whole report, from the gradings by pandas.
Stops at the first difference over 1e-9 with exit code 1.
"""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np
import pandas as pd
from irrCAC.raw import CAC
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa, fleiss_kappa

TOLERANCE = 1e-9
# A variance of one endplate below this is 0 but for rounding, and no test has a value.
NO_VARIANCE = 1e-12
WEIGHTS = {"unweighted": None, "linear": "linear", "quadratic": "quadratic"}


def same(found: float | None, expected: float, what: str) -> None:
    if found is None:
        if np.isfinite(expected):
            sys.exit(f"{what}: not defined instead of {expected!r}")
    elif not abs(found - expected) <= TOLERANCE * max(1.0, abs(expected)):
        sys.exit(f"{what}: {found!r} instead of {expected!r}")


def check_cohen(table: np.ndarray, weights: str, said: dict | None, what: str) -> None:
    rows, columns = np.nonzero(table)
    labels = list(range(len(table)))
    pairs = [np.repeat(index, table[rows, columns].astype(int)) for index in (rows, columns)]
    if said is None:
        # Nothing to count, or one category for all.
        if len(rows) > 1 or (len(rows) == 1 and rows[0] != columns[0]):
            sys.exit(f"{what}: not defined instead of {cohens_kappa(table)}")
        return
    same(said["value"], cohen_kappa_score(*pairs, labels=labels, weights=WEIGHTS[weights]), f"{what}: kappa (scikit-learn)")
    judged = cohens_kappa(table, wt=WEIGHTS[weights])
    same(said["value"], judged.kappa, f"{what}: kappa (statsmodels)")
    # A variance of 0 may come out a little below: NaN, as root.
    of_one = table.sum() * (1.0 - said["expected"]) ** 2
    same(said["standard_error"] ** 2, judged.var_kappa, f"{what}: variance")
    if judged.var_kappa * of_one > NO_VARIANCE:
        same(said["standard_error"], judged.std_kappa, f"{what}: standard error")
    if judged.var_kappa0 * of_one > NO_VARIANCE:
        same(said["z"], judged.z_value, f"{what}: z")
        same(said["p"], judged.pvalue_two_sided, f"{what}: p")
    elif said["z"] is not None:
        sys.exit(f"{what}: z {said['z']} though its standard error is 0")


def check_fleiss(counts: np.ndarray, weights: str, said: dict | None, what: str) -> None:
    if said is None:
        if (counts.sum(axis=0) > 0).sum() > 1:
            sys.exit(f"{what}: not defined")
        return
    if weights == "unweighted":
        same(said["value"], fleiss_kappa(counts), f"{what}: kappa (statsmodels)")
    if len(counts) < 2:
        same(said["standard_error"], np.nan, f"{what}: standard error of one endplate")
        return
    # One column a reader; who said what doesn't matter to Fleiss.
    ratings = pd.DataFrame([np.repeat(np.arange(len(row)), row.astype(int)) for row in counts])
    kind = "identity" if weights == "unweighted" else weights
    judged = CAC(ratings, weights=kind, categories=list(range(counts.shape[1])), digits=17).fleiss()["est"]
    same(said["value"], judged["coefficient_value"], f"{what}: kappa (irrCAC)")
    same(said["observed"], judged["pa"], f"{what}: agreement")
    same(said["expected"], judged["pe"], f"{what}: chance agreement")
    is_certain = judged["se"] ** 2 * len(counts) <= NO_VARIANCE
    same(said["standard_error"], 0.0 if is_certain else judged["se"], f"{what}: standard error")
    if not is_certain:
        same(said["z"], judged["z"], f"{what}: z")
        same(said["p"], judged["p_value"], f"{what}: p")
    elif said["z"] is not None:
        sys.exit(f"{what}: z {said['z']} though its standard error is 0")


def check_tables(path: str) -> int:
    with open(path) as lines:
        tables = [json.loads(line) for line in lines]
    for number, table in enumerate(tables):
        counts = np.array(table["counts"], float)
        for weights in WEIGHTS:
            what = f"table {number}, {table['statistic']}, {weights}: {table['counts']}"
            check = check_cohen if table["statistic"] == "cohen" else check_fleiss
            check(counts, weights, table[weights], what)
    return len(tables)


def check_report(gradings: str, report: str) -> int:
    rows = pd.read_csv(gradings, dtype=str)
    rows = rows[rows.grade != "not gradable"]
    # By type: a mixed change is what it mostly is.
    rows["category"] = rows.grade.str[0].astype(int)
    with open(report) as file:
        said = json.load(file)
    compared = 0
    for comparison in said["comparisons"]:
        of = rows[rows.reader.isin(comparison["readers"])]
        wide = of.pivot(index=["study_ref", "endplate"], columns=["session", "reader"], values="category").dropna().astype(int)
        same(comparison["endplates"], len(wide), "endplates")
        same(comparison["studies"], wide.index.get_level_values(0).nunique(), "studies")
        for figure in comparison["figures"]:
            for session in ("blind", "with_map"):
                ratings = wide[session][comparison["readers"]].to_numpy()
                what = f"{comparison['readers']}, {session}, {figure['weights']}"
                if comparison["statistic"] == "cohen":
                    table = np.zeros((4, 4))
                    np.add.at(table, (ratings[:, 0], ratings[:, 1]), 1)
                    check_cohen(table, figure["weights"], figure[session], what)
                else:
                    counts = np.stack([(ratings == category).sum(axis=1) for category in range(4)], axis=1)
                    check_fleiss(counts, figure["weights"], figure[session], what)
                compared += 1
            difference = figure["with_map"]["value"] - figure["blind"]["value"]
            same(figure["difference"]["value"], difference, "difference")
    return compared


if __name__ == "__main__":
    # Tables with one category make the judges divide by 0; what they say then is looked at above.
    warnings.filterwarnings("ignore")
    np.seterr(all="ignore")
    checked = check_tables(sys.argv[2]) if sys.argv[1] == "tables" else check_report(*sys.argv[2:4])
    print("agree:", checked)
