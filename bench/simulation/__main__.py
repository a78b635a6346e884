"""The command line of the study."""

import argparse
import json
from pathlib import Path

from bench.simulation import adapters, base, choosing, draw, golds, policy, reward

parser = argparse.ArgumentParser(prog="python -m bench.simulation", description=__doc__)
stages = parser.add_subparsers(required=True)
for name, work, text in (
    ("sample", base.sample, "the base model's answers, once"),
    ("reward", reward.study, "the instant head by labels, rule, noise, layer and pooling"),
    ("adapters", adapters.study, "what adapters add to it by rule and labels"),
    ("choosing", choosing.study, "chosen pairs against random ones"),
    ("policy", policy.study, "reward run, PPO, DPO and best of n by one rule and seed"),
    ("draw", draw.study, "the pictures, and the tables on standard output"),
):
    stage = stages.add_parser(name, help=text)
    stage.add_argument("--home", type=Path, required=True)
    if name == "policy":
        stage.add_argument("--gold", choices=golds.GOLDS, required=True)
        stage.add_argument("--seed", type=int, default=1)
        stage.add_argument("--ways", choices=policy.WAYS, nargs="+", default=["ppo", "dpo", "best-of"])
    if name == "adapters":
        stage.add_argument("--counts", type=int, nargs="+", default=[500])
        stage.add_argument("--rules", choices=golds.GOLDS, nargs="+", default=list(golds.GOLDS))
        stage.add_argument("--seed", type=int, default=1)
        stage.add_argument("--hyper", type=json.loads, default={}, help="settings of the reward run as JSON")
    stage.set_defaults(work=work)
given = vars(parser.parse_args())
given.pop("work")(**given)
