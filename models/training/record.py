"""A run's record: settings, data digests, metrics as JSON, curves as PNG, checkpoints.

Lives under the `--work` folder, outside the repository.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import torch
from torch import nn

WINDOW = 50  # steps a point of the loss curve averages over


class Run:
    def __init__(self, work: Path, name: str, settings: dict, digests: dict[str, str]) -> None:
        self.folder = work / f"{name}-{time.strftime('%m%d-%H%M%S')}"
        self.folder.mkdir(parents=True)
        self._recent: list[float] = []
        self._started = time.monotonic()
        self.content: dict = {
            "settings": {k: v if isinstance(v, (int, float, type(None))) else str(v) for k, v in settings.items()},
            "data": digests,
            "torch": torch.__version__,
            "loss": [],
            "metrics": [],
        }

    def loss(self, step: int, value: float) -> None:
        self._recent.append(value)
        if step % WINDOW == 0:
            mean = sum(self._recent) / len(self._recent)
            self._recent.clear()
            self.content["loss"].append([step, mean])
            print(f"{time.strftime('%H:%M:%S')} step {step} loss {mean:.4f}", flush=True)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        self.content["metrics"].append({"step": step, **values})
        print("   ", " ".join(f"{k} {v:.3f}" for k, v in values.items()), flush=True)
        self._write()

    def checkpoint(self, net: nn.Module, step: int) -> None:
        part = self.folder / "last.part"
        torch.save({"net": net.state_dict(), "step": step}, part)
        part.replace(self.folder / "last.pt")

    def finish(self, seconds: float) -> Path:
        self.content["seconds"] = round(seconds)
        self._write()
        self._plot()
        return self.folder / "last.pt"

    def _write(self) -> None:
        (self.folder / "record.json").write_text(json.dumps(self.content, indent=1))

    def _plot(self) -> None:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
        left.plot(*zip(*self.content["loss"] or [(0, 0)]))
        left.set(xlabel="step", ylabel="training loss")
        for key in self.content["metrics"][-1].keys() - {"step"}:
            right.plot([m["step"] for m in self.content["metrics"]], [m[key] for m in self.content["metrics"]], label=key)
        right.set(xlabel="step")
        right.legend(fontsize=7)
        figure.savefig(self.folder / "curves.png", dpi=100)


def digest(folder: Path, pattern: str) -> str:
    """One SHA-256 over the names and bytes of a folder's files."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob(pattern)):
        total.update(path.name.encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
