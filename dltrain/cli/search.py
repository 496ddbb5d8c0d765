"""A search from the command line (`-m sweep=tpe`): its checks, its folder, its trials, and the table at its end."""

import contextlib
import functools
import os
import shlex
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dltrain import __version__
from dltrain.cli.job import find_note, train_all
from dltrain.cli.search_plan import Found, Plan, make_plan, read_study_name
from dltrain.cli.search_processes import ProcessSearch, make_workers
from dltrain.cli.search_trial import Trial, evaluations, known_from, make_room, read_end, wait_for, watch
from dltrain.composition.launch import Job, SweepStopped
from dltrain.config.folders import Tree
from dltrain.errors import ConfigError, Interrupted
from dltrain.report.console import Screen, shown
from dltrain.report.sweep import summarise
from dltrain.report.sweeps.board import Board
from dltrain.runs.files import Files
from dltrain.runs.folder import RunFolder
from dltrain.runs.sealed import seal
from dltrain.runs.sweep_files import JOBS, MANIFEST
from dltrain.sweep.assignment import devices_for
from dltrain.sweep.earlier import write_earlier
from dltrain.sweep.programs import Programs
from dltrain.sweep.search import Proposal, Search
from dltrain.sweep.study import JOURNAL, make_samplers, open_study


def search(
    found: Found,
    config: Mapping[str, Any],
    folders: tuple[Path, ...],
    tree: Tree,
    *,
    place: str | None,
    overwrite: bool,
    claim: Callable[[], Path],
    batches: Any = None,
) -> int:
    """Search, and print what came of it.

    Args:
        found: key -> the override and its values, as `cli.sweep` reads them.
        config: of the first combination.
        folders: of YAML.
        tree: the choices in them.
        place: the folder that was typed.
        overwrite: whether to replace the search in it.
        claim: makes the folder of a new search.
        batches: `cli.search_batches.Batches`, if one of Hydra's launchers trains the trials.

    Returns:
        The exit code, that of the first job that failed now.
    """
    plan = make_plan(found, config, folders, tree)
    if plan.dry:
        return _try_a_batch(plan)
    sharing = 0
    if batches:
        plan, sharing = batches.divide(plan)
    devices = devices_for(config["runtime"]["platform"], os.environ) if plan.settings["processes"] > 1 else ()
    begin = functools.partial(_Running, plan, batches=batches, sharing=sharing, devices=tuple(devices))
    earlier = Path(place).expanduser().resolve() if place else None
    if earlier and (earlier / MANIFEST).is_file():
        if not overwrite:
            return begin(folder=earlier).run()
        for name in (MANIFEST, JOURNAL):
            (earlier / name).unlink(missing_ok=True)
    return begin(folder=claim()).run()


@dataclass
class _Running:
    """A search while this process works on it."""

    plan: Plan
    folder: Path
    batches: Any = None  # what trains trials with a launcher
    sharing: int = 0  # how many of its processes share GPUs
    devices: tuple[str, ...] = ()  # GPUs that `sweep.processes` share
    programs: Programs = field(default_factory=Programs)
    codes: list[int] = field(default_factory=list)  # of jobs that failed now
    known: dict[int, bool] = field(default_factory=dict)  # number of a job -> whether an earlier sweep trained it
    monitor: str = "value"  # what the runs monitor
    reason: str = ""  # why it was stopped, unless by a signal
    board: Board = field(default_factory=lambda: Board(0))

    def run(self) -> int:
        """Train until all trials have ended, or a signal arrives."""
        lock = RunFolder(self.folder)
        lock.lock()
        code = 0
        try:
            found = self._open()
            try:
                self._train(found)
            except SweepStopped as stopped:
                code, self.reason = stopped.code, stopped.reason
            except KeyboardInterrupt:  # between two batches
                code = Interrupted.code
            return self._end(found, code)
        finally:
            lock.release()

    def _open(self) -> Search:
        """Open the study of the folder, or begin one."""
        path, settings = self.folder / MANIFEST, self.plan.settings
        new = not path.exists()
        if not new:
            name = read_study_name(path, self.plan)
        else:
            name = f"{self.folder.name}-{uuid.uuid4().hex[:8]}"
            about = {"study": name, "words": list(self.plan.typed), "version": __version__}
            manifest = seal({**about, **self.plan.to_json()})
            Files(self.folder).replace_json(MANIFEST, manifest)
        try:
            study, storage = open_study(
                settings["storage"],
                self.folder,
                name=name,
                directions=self.plan.directions,
                pruner=settings["pruner"],
            )
        except ConfigError:
            if new:
                _remove(self.folder)
            raise
        return make_search(self.plan, study, storage)

    def _train(self, found: Search) -> None:
        settings, screen = self.plan.settings, Screen(quiet=self.plan.quiet)
        processes = settings["processes"]
        pace = f"in {processes} processes" if processes else f"{settings['workers']} at a time"
        pace += f" with {self.batches.launcher}" if self.batches else ""
        screen.say(
            f"search  {settings['sampler']}: {settings['trials']} trials, {pace}"
            + (f", pruned by {settings['pruner']}" if settings["pruner"] != "none" else "")
        )
        for dimension in self.plan.space:
            screen.say(f"        {dimension}")
        screen.say(f"study   {settings['storage'] or self.folder / JOURNAL}", whole=True)
        if found.jobs:
            again = f"; {found.begun} that did not end go on" if found.begun else ""
            screen.say(f"        goes on after {found.jobs - found.begun} trials{again}")
        write_earlier(self.folder, settings)
        self.board = Board(settings["trials"], quiet=self.plan.quiet, before=found.jobs - found.begun)
        if processes:
            workers = make_workers(processes, self.folder, self.devices)
            settle = functools.partial(self._settle, found)
            ProcessSearch(found, self.board, self._trial, settle, workers, processes, self.devices).run()
            self._say_best(found, screen)
        else:
            self._train_batches(found, screen)
        if found.jobs < settings["trials"]:
            screen.say(f"all combinations that {settings['sampler']} finds have been trained")

    def _train_batches(self, found: Search, screen: Screen) -> None:
        """Train trials in batches, each of which is chosen when the one before has ended."""
        earlier = [RunFolder(self.folder / str(job)) for job, _ in found.results()] if self.batches else []
        for run in earlier:
            if run.summary.exists():
                self.programs.best.note(run.read_summary(), self.plan.settings["constraints"])
        while batch := found.propose():
            for proposal in batch:
                if proposal.begun:
                    wait_for(self._trial(proposal))
            left = [proposal for proposal in batch if not self._settle(found, proposal)]
            self._train_batch(found, left)
            self._say_best(found, screen)

    def _say_best(self, found: Search, screen: Screen) -> None:
        best = found.best() if len(self.plan.directions) == 1 else None
        objective = (self.plan.settings["objectives"] or [self.monitor])[0]
        known = sum(self.known.values())
        screen.say(
            f"\n{found.jobs} of {self.plan.settings['trials']} trials"
            + (f", {known} known" if known else "")
            + (f"; best: job {best[0]}, {objective} {shown(best[1])}" if best else "")
        )

    def _train_batch(self, found: Search, batch: Sequence[Proposal]) -> None:
        """Train trials together, and tell the study what came of those that ended."""
        if not batch:
            return
        trials = [self._trial(proposal) for proposal in batch]
        for trial in trials:
            make_room(trial)
        try:
            if self.batches:
                study, best = found.study.study_name, self.programs.best.value
                return self.batches.train(trials, processes=self.sharing, study=study, best=best)
            train_all(
                [trial.job for trial in trials],
                self.plan.keys,
                watches={trial.number: self._watch(found, trial) for trial in trials},
                programs=self.programs,
                begun=[trial.number for trial in trials if trial.proposal.begun],
                board=self.board,
            )
        finally:
            for proposal in batch:
                self._settle(found, proposal)

    def _watch(self, found: Search, trial: Trial) -> Callable[[Any], Sequence[Any]] | None:
        return watch(trial, functools.partial(found.should_stop, trial.proposal))

    def _trial(self, proposal: Proposal) -> Trial:
        words = (*self.plan.words, *proposal.words)
        job = Job(proposal.number, words, self.plan.folders, self.folder / str(proposal.number), self.folder)
        return Trial(proposal, job, self.plan.keys, self.plan.settings)

    def _settle(self, found: Search, proposal: Proposal) -> bool:
        """Tell the study what came of a trial, if it has ended."""
        trial = self._trial(proposal)
        ended, summary = read_end(trial)
        self.monitor = summary.get("monitor") or self.monitor
        if ended:
            self.known[trial.number] = bool(summary and known_from(trial))
            if self.known[trial.number] and self.plan.settings["pruner"] != "none":
                for evaluation, value in enumerate(evaluations(trial, self.monitor), 1):
                    found.should_stop(proposal, evaluation, value)  # for others: this one has trained to its end
            found.tell(proposal, ended)
            if not summary:
                self.codes.append(find_note(trial.job)["code"])
            elif self.batches:
                self.programs.best.note(summary, self.plan.settings["constraints"])
        return ended is not None

    def _end(self, found: Search, code: int) -> int:
        """Draw the best job, print the table, and say how to go on."""
        results = found.results()
        if not code:
            self.programs.best.draw()
            shutil.rmtree(self.folder / JOBS, ignore_errors=True)
        places = [self.folder / str(job) for job, _ in results]
        paths = [path for path in places if RunFolder(path).config.exists() or RunFolder(path).failure.exists()]
        running = {self.folder / str(job) for job, trial in results if not trial.state.is_finished()}
        summarise(self.folder, paths, interrupted=running)
        if code:
            launcher = self.batches.words if self.batches else []
            words = shlex.join([*self.plan.typed, *launcher, f"output_dir={self.folder}"])
            ended = f"{len(results) - len(running)} of {self.plan.settings['trials']} trials have ended"
            if self.reason:
                print(f"dltrain: {self.reason}", file=sys.stderr)
            print(f"dltrain: {ended}; to go on: dltrain -m {words}", file=sys.stderr)
        return code or next(iter(self.codes), 0)


def make_search(plan: Plan, study: Any, storage: Any) -> Search:
    """Make the search of a plan, which goes on with what its study holds."""
    settings = plan.settings
    return Search(
        study,
        storage,
        plan.space,
        trials=settings["trials"],
        workers=settings["workers"],
        make_sampler=make_samplers(settings["sampler"], settings["seed"]),
        seed=settings["seed"],
        repeat=settings["repeat"],
        version=__version__,
    )


def _remove(folder: Path) -> None:
    """Remove the folder of a search that has not begun, unless it holds something else."""
    for name in (MANIFEST, JOURNAL, "lock"):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _try_a_batch(plan: Plan) -> int:
    """Check the first trials; nothing is written."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        study, storage = open_study(None, folder, name="dry run", directions=plan.directions, pruner="none")
        batch = make_search(plan, study, storage).propose()
        jobs = [Job(p.number, (*plan.fixed, *p.words), plan.folders, folder / str(p.number), folder) for p in batch]
        train_all(jobs, plan.keys)
        codes = [find_note(job).get("code", 1) for job in jobs]
    good = sum(not code for code in codes)
    print(f"dry run: {good} of the first {len(codes)} trials can be trained; nothing was trained or written")
    return next((code for code in codes if code), 0)
