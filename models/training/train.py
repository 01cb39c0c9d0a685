"""`python -m training.train vertebrae|modic`: the training loop, checkpoints, the run's record."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from . import record, tasks, weights
from .network import UNet
from .quantized import QuantizedUNet


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=tasks.NAMES)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="data sets in SPIDER's layout, phantoms too")
    parser.add_argument("--work", type=Path, required=True, help="checkpoints and records, outside git")
    parser.add_argument("--init", type=Path, help="begin with the weights of this checkpoint or `network.onnx`")
    parser.add_argument("--quantized", action="store_true", help="round as int8 does; for the last minutes, with --init")
    parser.add_argument("--minutes", type=float, default=60.0, help="wall-clock budget")
    parser.add_argument("--steps", type=int, default=1_000_000, help="or this many steps")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(words)


def train(args: argparse.Namespace) -> Path:
    """Trains within the budget; returns the checkpoint of the averaged weights."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    task = tasks.load(args.task, args)
    kind = QuantizedUNet if args.quantized else UNet
    net = kind(task.inputs, task.outputs).to(memory_format=torch.channels_last)
    batches = iter(DataLoader(task.crops, batch_size=args.batch, num_workers=1, prefetch_factor=4))
    if args.init:
        weights.begin(net, args.init, next(batches)[0])
    mean = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99), use_buffers=True
    )
    optimiser = torch.optim.AdamW(net.parameters(), lr=args.rate, weight_decay=1e-3)
    run = record.Run(args.work, args.task, vars(args), tasks.digests(args))

    started, step, done = time.monotonic(), 0, 0.0
    while done < 1:
        done = max((time.monotonic() - started) / (60 * args.minutes), (step + 1) / args.steps)
        for group in optimiser.param_groups:
            group["lr"] = args.rate * min(1.0, (step + 1) / 100) * max(0.02, 1 - done) ** 0.9
        batch = next(batches)
        net.train()
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(batch[0].to(memory_format=torch.channels_last))
        loss = task.loss(logits.float(), *batch[1:])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        mean.update_parameters(net)
        step += 1
        run.loss(step, loss.item())
        if step % 250 == 0 or done >= 1:
            run.checkpoint(mean.module, step)
            run.metrics(step, task.validate(mean.module.eval()))
    return run.finish(time.monotonic() - started)


if __name__ == "__main__":
    print(train(parse()))
