"""The command line: every command on a small target, exit codes, one line an error, what help costs."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from automl_ext.cli import main
from automl_ext.config import checked, load
from automl_ext.run import Run

CONFIGS = Path(__file__).parent.parent / "configs"
HEAVY = {"torch", "gymnasium", "sklearn", "matplotlib", "numpy", "deap", "albumentations"}
MODULE = '''
import time
import gymnasium
from automl_ext import Integer, Objective, Proposal, Real, SearchEnv, Space

class Valley(SearchEnv):
    """A valley with its floor at five layers."""

    def __init__(self, depth: float = 1.0, slow: float = 0.0, broken: bool = False):
        if depth <= 0:
            raise ValueError(f"depth must be above 0, not {depth}")
        self.space = Space(Integer("layers", 1, 8), Real("rate", 0.0, 1.0))
        self.objectives = (Objective("loss", "min"),)
        self.references = {"middle": {"layers": 4, "rate": 0.5}}
        self.depth, self.slow, self.broken = depth, slow, broken

    def evaluate(self, job, report):
        time.sleep(self.slow)
        if self.broken:
            raise RuntimeError("the valley is closed\\nfor today")
        return {"loss": self.depth * (job.candidate["layers"] - 5) ** 2 + job.candidate["rate"]}

    def export(self, job, folder):
        (folder / "valley.txt").write_text(f"{job.stage} {job.candidate}")

class Unruly(Valley):
    def evaluate(self, job, report):
        return {"loss": float(time.perf_counter_ns())}

gymnasium.register("NAME/Valley-v0", entry_point="NAME:Valley")
gymnasium.register("NAME/Unruly-v0", entry_point="NAME:Unruly")

class Climber:
    """Changes the best so far a little."""

    def __init__(self, target, rng, *, start: int = 10):
        self.target, self.start, self.best = target, start, None

    def ask(self, number, pending, rng):
        if number < self.start or self.best is None:
            return Proposal(self.target.space.sample(rng))
        return Proposal(self.target.space.from_genes(self.target.variation.mutate(self.best.candidate, rng)))

    def tell(self, trial, rng):
        goal = self.target.objectives[0]
        if trial.metrics and (self.best is None or goal.signed(trial.metrics) > goal.signed(self.best.metrics)):
            self.best = trial

class Deaf(Climber):
    def tell(self, trial, rng): ...
'''
CONFIG = """
env: {id: "NAME:NAME/Valley-v0", depth: 2}
searcher: {name: regularized-evolution, population: 5, sample: 2}
trials: 12
baselines: [random]
executor: serial
"""


@pytest.fixture
def valley(tmp_path, monkeypatch):
    """A folder with a user's module and valley.yaml, the working directory. The module's name."""
    name = f"valley_{re.sub(r'[^a-z0-9]', '_', tmp_path.name.lower())}"
    (tmp_path / f"{name}.py").write_text(MODULE.replace("NAME", name))
    (tmp_path / "valley.yaml").write_text(CONFIG.replace("NAME", name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


@pytest.fixture
def say(capsys):
    """Run the command line: (exit code, standard output, standard error)."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def refused(answer, code=2):
    """The one line of an error."""
    assert answer[0] == code, answer
    *before, line = answer[2].splitlines()
    assert line.startswith("error: ") and "Traceback" not in answer[2]
    assert code == 1 or code == 3 or not before
    return line


# ---------------------------------------------------------------- help


def test_help_and_list_import_nothing_heavy():
    code = (
        "import sys\n"
        "from automl_ext.cli import main\n"
        "assert main(['--help']) == 0 and main(['run', '--help']) == 0 and main(['list', '--searchers']) == 0\n"
        "print('MODULES', *sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stderr.split())
    assert "automl-ext run configs/quickstart.yaml" in done.stdout


@pytest.mark.parametrize("command", ["run", "resume", "status", "list", "compare", "export", "report", "check"])
def test_every_command_has_examples(say, command):
    code, out, _ = say(command, "--help")
    assert code == 0 and re.search(rf"Examples?:\n +automl-ext {command}", out)
    assert f"  {command} " in say("--help")[1]


def test_version_and_no_command(say):
    assert re.fullmatch(r"automl-ext \d+\.\d+.*\n", say("--version")[1])
    assert say()[1] == say("--help")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lst"], "error: No such command 'lst'. Did you mean 'list'? (see automl-ext --help)"),
        (["run"], "error: Missing argument 'CONFIG' (see automl-ext run --help)"),
        (["run", "x.yaml", "--sede", "3"], "error: No such option: --sede"),
        (["run", "x.yaml", "--seed", "many"], "error: Invalid value for '--seed'"),
        (["run", "missing.yaml"], "error: missing.yaml: no such file"),
        (["run", "valley.yaml", "--set", "trials"], "error: --set: must be key=value"),
        (["run", "valley.yaml", "--set", "env.dept=2"], "error: --set:env.dept: unknown key 'dept'; did you mean"),
        (["run", "valley.yaml", "--seed", "-1"], "error: --set:seed: must be a whole number from 0"),
        (["run", "valley.yaml", "--set", "env.depth=-1"], "error: --set:env.depth: depth must be above 0, not -1.0"),
        (["run", "valley.yaml", "--out", "valley.yaml"], "error: valley.yaml: "),
        (["status", "nowhere"], "error: nowhere: no run here"),
        (["resume", "nowhere", "--set", "trials=3"], "error: nowhere: no run here"),
        (["compare", "nowhere"], "error: nowhere: no run here"),
        (["export", "nowhere"], "error: nowhere: no run here"),
        (["report", "nowhere"], "error: nowhere: no run here"),
        (["check", "nowhere:X"], "error: nowhere:X: no module nowhere"),
        (["check", "nothing"], "error: nothing:env.id: unknown environment 'nothing'"),
    ],
)  # fmt: skip
def test_a_users_mistake_is_one_line(valley, say, arguments, words):
    assert refused(say(*arguments)).startswith(words)
    assert not Path("runs").exists()


# ---------------------------------------------------------------- the life of a run


def test_the_life_of_a_run(valley, say):
    code, out, err = say("run", "valley.yaml", "--seed", 3, "--out", "results")
    folder = Path("results/valley-s3")
    assert code == 0
    assert "searched (trial-" in out and "random (baseline)" in out and "middle (reference)" in out
    assert f"report  {folder}/report.html" in out and f"best    {folder}/best" in out and "took" in out
    assert err.startswith(f"run {folder}\nsearch begins: 12 trials\n") and "baseline random took" in err
    assert (folder / "report.html").stat().st_size > 1000 and (folder / "best" / "valley.txt").exists()
    assert load(folder / "config.yaml").env.options == {"depth": 2.0, "slow": 0.0, "broken": False}

    code, out, _ = say("status", folder)
    assert code == 0 and re.search(r"results/valley-s3  finished  final-1   12/12 ", out)
    facts = json.loads(say("status", folder, "--json")[1])[0]
    assert (facts["state"], facts["trials"], facts["planned"], facts["failed"]) == ("finished", 12, 12, 0)
    assert facts["best"]["metrics"]["loss"] == Run.open(folder).best().metrics["loss"]

    assert refused(say("resume", folder, "--set", "env.depth=3")).endswith(
        "cannot change env.depth; start a new run for that"
    )
    assert "trials can grow only: 12 are recorded, not 5" in refused(say("resume", folder, "--set", "trials=5"))
    code, out, _ = say("resume", folder, "--set", "trials=20", "--workers", 0, "--json")
    summary = json.loads(out)
    assert code == 0 and (summary["outcome"], summary["trials"], summary["missed"]) == ("finished", 20, [])
    assert [row["role"] for row in summary["table"]] == ["searched", "baseline", "reference"]

    code, out, _ = say("export", folder, "--trial", 4, "--to", "mine")
    assert code == 0 and out == "mine\n"
    assert json.loads(Path("mine/candidate.json").read_text())["number"] == 4
    assert Path("mine/valley.txt").read_text().startswith("search {")
    assert "is there already" in refused(say("export", folder, "--trial", 4, "--to", "mine"))
    assert "no trial 999" in refused(say("export", folder, "--trial", 999), 1)
    assert say("export", folder)[1].startswith("results/valley-s3/export-000")

    (folder / "report.html").unlink()
    assert say("report", folder)[1] == f"{folder}/report.html\n" and (folder / "report.html").exists()


def test_equal_runs_take_another_folder_and_compare(valley, say):
    for _ in range(2):
        assert say("run", "valley.yaml", "--set", "baselines=[]", "--set", "trials=6", "--json")[0] == 0
    code, out, _ = say("compare", "runs/valley-s0", "runs/valley-s0-2", "--svg", "curves.svg")
    assert code == 0 and "median loss" in out and Path("curves.svg").exists()
    comparison = json.loads(say("compare", "runs/valley-s0", "runs/valley-s0-2", "--json")[1])
    assert comparison["metric"] == "loss" and comparison["rows"]
    assert "loss" in refused(say("compare", "runs/valley-s0", "--metric", "beauty"))


@pytest.mark.slow
def test_an_expectation_missed(valley, say):
    answer = say("run", "valley.yaml", "--set", "expect.loss=[null, -1]", "--set", "expect.speed=[1, 2]")
    line = refused(answer, 3)
    assert "runs/valley-s0: expectation missed: loss is" in line and "expected any to -1" in line
    assert "speed: no such metric in the final table (there: loss)" in line
    assert "searched (trial-" in answer[1]
    code, out, _ = say("run", "valley.yaml", "--set", "expect.loss=[0, 1000]")
    assert code == 0 and "expect  loss 0 to 1000: kept\nbest    " in out and "kept" not in answer[1]


def test_a_failed_run_is_one_line(valley, say):
    answer = say("run", "valley.yaml", "--set", "env.broken=true", "--set", "max_failures=3")
    line = refused(answer, 1)
    assert "stopped: 3 trials in a row failed with exception: " in line and "the valley is closed" in line
    facts = json.loads(say("status", "runs/valley-s0", "--json")[1])[0]
    assert facts["state"].startswith("failed") and facts["failed"] == 3 and facts["best"] is None
    assert say("status", "runs/valley-s0")[0] == 0
    assert "no trial has a result yet" in refused(say("export", "runs/valley-s0"))


# ---------------------------------------------------------------- signals


def started(*arguments):
    """The command line in a process of its own."""
    code = "import sys; from automl_ext.cli import main; sys.exit(main(sys.argv[1:]))"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], **pipes)


def wait_for_trials(folder, count, process):
    for _ in range(600):
        path = folder / "trials.jsonl"
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("no trials")


@pytest.mark.slow
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_a_run_that_can_go_on(valley, say, signum, code):
    process = started("run", "valley.yaml", "--set", "env.slow=0.1", "--set", "trials=60")
    folder = Path("runs/valley-s0")
    wait_for_trials(folder, 5, process)
    live = json.loads(say("status", folder, "--json")[1])[0]
    assert live["state"] == "running" and live["trials"] >= 5 and live["left_s"] > 0
    assert "another process is working on this run" in refused(say("resume", folder))
    process.send_signal(signum)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    line = err.splitlines()[-1]
    assert line == f"error: stopped by {signal.Signals(signum).name}; go on with: automl-ext resume {folder}"
    assert "Traceback" not in err
    assert json.loads(say("status", folder, "--json")[1])[0]["state"] == "interrupted"
    recorded = len(list(Run.open(folder).trials("search")))
    assert recorded < 60
    assert say("resume", folder, "--set", f"trials={max(recorded, 12)}")[0] == 0


@pytest.mark.slow
def test_a_killed_run_is_seen(valley, say):
    process = started("run", "valley.yaml", "--set", "env.slow=0.1", "--set", "trials=60")
    folder = Path("runs/valley-s0")
    wait_for_trials(folder, 3, process)
    process.kill()
    process.communicate()
    assert json.loads(say("status", folder, "--json")[1])[0]["state"] == "killed"


@pytest.mark.slow
def test_a_closed_pipe_is_no_error(valley):
    process = started("list")
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) in (0, 1) and "Traceback" not in err and "error" not in err


# ---------------------------------------------------------------- list and check


def test_list(say):
    code, out, _ = say("list")
    assert code == 0
    assert all(name in out for name in ("automl_ext/Pruning-v0", "ddpg", "fashion-mnist", "my_module:MySearcher"))
    known = json.loads(say("list", "--json")[1])
    assert set(known) == {"environments", "searchers", "rewards", "stopping", "datasets"}
    assert {"mnasnet-soft", "mnasnet-hard", "rena", "weighted-sum"} == {row["name"] for row in known["rewards"]}
    assert {row["distribution"] for row in known["searchers"]} <= {"automl-ext", "optuna"}
    assert {"median", "extrapolation", "curve-network"} == {row["name"] for row in known["stopping"]}
    assert list(json.loads(say("list", "--datasets", "--json")[1])) == ["datasets"]


def test_list_shows_what_each_searcher_treats(say):
    lines = {line.split()[0]: line.split() for line in say("list", "--searchers")[1].splitlines() if line.strip()}
    head = "searchers from choice number conditional several objectives budgets what"
    assert lines["searchers"] == head.split()
    assert lines["random"][2:7] == ["yes", "yes", "yes", "yes", "-"]
    assert lines["ddpg"][2:7] == ["-", "yes", "-", "-", "-"]


def test_check_a_target(valley, say):
    code, out, _ = say("check", f"{valley}:{valley}/Valley-v0", "--set", "depth=2")
    assert code == 0 and f"{valley}/Valley-v0 keeps the contract of a target" in out
    assert f"{valley}/Valley-v0:env.dept: unknown key" in refused(
        say("check", f"{valley}:{valley}/Valley-v0", "--set", "dept=2")
    )
    assert "depth must be above 0" in refused(say("check", f"{valley}:{valley}/Valley-v0", "--set", "depth=-2"))
    assert "the valley is closed" in refused(say("check", f"{valley}:{valley}/Valley-v0", "--set", "broken=true"), 1)
    assert "Unruly-v0" in refused(say("check", f"{valley}:{valley}/Unruly-v0"), 1)
    assert "'Valley' is no searcher" in refused(say("check", f"{valley}:Valley"))


@pytest.mark.slow
def test_check_a_searcher(valley, say):
    code, out, _ = say("check", f"{valley}:Climber", "--set", "start=5")
    assert code == 0 and f"{valley}:Climber keeps the contract of a searcher" in out
    assert f"{valley}:Deaf: " in refused(say("check", f"{valley}:Deaf"), 1)
    assert say("check", f"{valley}:Deaf", "--no-learning")[0] == 0
    assert "start: must be a whole number" in refused(say("check", f"{valley}:Climber", "--set", "start=x"))


# ---------------------------------------------------------------- configs that come with the project


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_names_what_there_is(path):
    config = checked(load(path))
    assert config.name == path.stem and config.paper is not None and config.paper.deviations
