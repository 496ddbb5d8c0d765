"""The search: every trial once, the same after an interruption, better than chance, and pruned where that pays.

Trials are simulated: a function of their words takes the place of training.
"""

import math
import statistics

import optuna
import pytest

from dltrain.sweep.search import Ended, Search
from dltrain.sweep.space import Dimension
from dltrain.sweep.study import make_samplers, open_study

RATE = Dimension("rate", (), 1e-5, 1e-1, log=True)
DROPOUT = Dimension("dropout", (), 0.0, 1.0)
MODEL = Dimension("model", ("model=a", "model=b", "model=c"))
SPACE = (RATE, DROPOUT, MODEL)
NONE = optuna.pruners.NopPruner()


def loss(words) -> float:
    """Has its minimum, 0, at rate=1e-3 dropout=0.3 model=a."""
    value = dict(word.split("=") for word in words)
    decades = math.log10(float(value["rate"])) + 3
    return (decades / 4) ** 2 + (float(value["dropout"]) - 0.3) ** 2 + 0.2 * "abc".index(value["model"])


def begin(
    sampler="tpe", *, space=SPACE, trials=20, workers=4, seed=0, directions=("minimize",), **options
) -> Search:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner, repeat = options.get("pruner", NONE), options.get("repeat", False)
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage, directions=list(directions), pruner=pruner)
    make = make_samplers(sampler, seed)
    return Search(study, storage, space, trials=trials, workers=workers, make_sampler=make, repeat=repeat)


def reopen(folder, *, trials=20, workers=4, sampler="tpe") -> Search:
    study, storage = open_study(None, folder, name="s", directions=["minimize"], pruner="none")
    return Search(study, storage, SPACE, trials=trials, workers=workers, make_sampler=make_samplers(sampler, 0))


def run(search: Search, train=lambda p: Ended((loss(p.words),))) -> list:
    done = []
    while batch := search.propose():
        for proposal in batch:
            done.append(proposal)
            search.tell(proposal, train(proposal))
    return done


def trials_until(sampler: str, seed: int, *, tolerance: float, most: int) -> int:
    """Count the trials until one is within the tolerance of the planted optimum."""
    search = begin(sampler, trials=most, seed=seed)
    values = [loss(proposal.words) for proposal in run(search)]
    return next((n for n, value in enumerate(values, 1) if value < tolerance), most)


@pytest.mark.parametrize("seeds", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_tpe_finds_a_planted_optimum_in_half_the_trials_of_random(seeds):
    counts = {
        name: [trials_until(name, seed, tolerance=0.005, most=100) for seed in range(seeds)]
        for name in ("tpe", "random")
    }
    print("trials until within 0.005 of the optimum, at most 100:", counts)
    assert 2 * statistics.median(counts["tpe"]) <= statistics.median(counts["random"])


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc"])
def test_as_many_trials_are_trained_as_requested_none_twice(sampler):
    done = run(begin(sampler, trials=13))
    assert [proposal.number for proposal in done] == [*range(13)]
    assert len({proposal.words for proposal in done}) == 13


def test_a_batch_is_chosen_before_any_of_it_has_a_result():
    search = begin(trials=10, workers=4)
    sizes = []
    while batch := search.propose():
        sizes.append(len(batch))
        for proposal in batch:
            search.tell(proposal, Ended((0.0,)))
    assert sizes == [4, 4, 2]


@pytest.mark.parametrize("told", [0, 6, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 7, 8, 11))])
def test_an_interrupted_search_that_goes_on_equals_one_that_was_not(tmp_path, told):
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = reopen(tmp_path / "whole", trials=12)
    run(whole)
    search, left = reopen(tmp_path / "cut", trials=12), told
    while batch := search.propose():
        for proposal in batch[:left]:
            search.tell(proposal, Ended((loss(proposal.words),)))
        left -= len(batch)
        if left < 0:
            break
    search = reopen(tmp_path / "cut", trials=12)  # as after SIGKILL: nothing of the first object is used
    again = run(search)
    assert len(again) == 12 - told
    both = [[(job, t.values, t.params, t.state) for job, t in s.results()] for s in (whole, search)]
    assert both[0] == both[1] and len(both[0]) == 12


def test_a_finished_search_goes_on_when_more_trials_are_wanted(tmp_path):
    assert len(run(reopen(tmp_path, trials=6))) == 6
    assert not reopen(tmp_path, trials=6).propose()
    assert [p.number for p in run(reopen(tmp_path, trials=9))] == [6, 7, 8]


def test_a_failed_trial_counts_and_has_its_reason():
    search = begin(trials=6)
    done = run(search, lambda p: Ended(failed="no memory") if p.number == 2 else Ended((1.0,)))
    assert len(done) == 6
    trial = dict(search.results())[2]
    assert trial.state.name == "FAIL" and trial.user_attrs["reason"] == "no memory"


@pytest.mark.parametrize(("directions", "best"), [(("minimize",), 0), (("maximize",), 3)])
def test_the_best_trial_follows_the_direction(directions, best):
    search = begin(trials=4, directions=directions)
    assert search.best() is None
    run(search, lambda p: Ended((float(p.number),)))
    assert search.best() == (best, float(best))


def test_the_best_trial_violates_no_constraint():
    search = begin(trials=6)
    run(search, lambda p: Ended((float(p.number),), violations={"parameters<=9": 2.0 - p.number}))
    assert search.best() == (2, 2.0)
    assert dict(search.results())[0].constraints == {"parameters<=9": 2.0}


def feasible_share(sampler: str, seed: int, *, told: bool) -> float:
    """Search a loss whose optimum, dropout=0.3, is infeasible; return the share of trials with dropout >= 0.5."""
    search = begin(sampler, space=(RATE, DROPOUT), trials=40, workers=1, seed=seed)

    def train(proposal):
        dropout = float(proposal.words[1].partition("=")[2])
        return Ended(((dropout - 0.3) ** 2,), violations={"dropout>=0.5": 0.5 - dropout} if told else {})

    done = run(search, train)
    return sum(float(p.words[1].partition("=")[2]) >= 0.5 for p in done[20:]) / 20


def test_more_trials_are_feasible_if_tpe_is_told_the_violations():
    told, not_told = ([feasible_share("tpe", seed, told=told) for seed in range(4)] for told in (True, False))
    print(f"share of feasible trials with constraints {told}, without {not_told}")
    assert statistics.median(told) > 2 * statistics.median(not_told)


def test_one_by_one_each_trial_knows_all_results_that_are_there():
    search = begin(trials=5)
    first, second = search.propose_one(), search.propose_one()
    search.tell(second, Ended((1.0,)))
    third = search.propose_one()
    assert [p.number for p in (first, second, third)] == [0, 1, 2]
    for proposal in (third, first):
        search.tell(proposal, Ended((0.0,)))
    while proposal := search.propose_one():
        search.tell(proposal, Ended((0.0,)))
    assert search.jobs == 5 and all(trial.state.name == "COMPLETE" for _, trial in search.results())


def test_one_by_one_what_an_earlier_process_has_begun_comes_first(tmp_path):
    search = reopen(tmp_path)
    begun = [search.propose_one() for _ in range(3)]
    search.tell(begun[1], Ended((1.0,)))
    search = reopen(tmp_path)
    again = [search.propose_one() for _ in range(3)]
    assert [(p.number, p.begun) for p in again] == [(0, True), (2, True), (3, False)]


def test_what_another_version_has_trained_is_trained_again(tmp_path):
    def go_on(version):
        study, storage = open_study(None, tmp_path, name="s", directions=["minimize"], pruner="none")
        make = make_samplers("random", 0)
        search = Search(study, storage, (MODEL,), trials=6, workers=1, make_sampler=make, version=version)
        return [p.words[0] for p in run(search, lambda p: Ended((0.0,)))]

    assert sorted(go_on("1")) == ["model=a", "model=b", "model=c"]
    assert go_on("1") == [] and sorted(go_on("2")) == ["model=a", "model=b", "model=c"]


def test_several_objectives_give_the_front_of_both_directions():
    search = begin(trials=9, directions=("minimize", "maximize"))
    run(search, lambda p: Ended((abs(p.number - 4.0), float(p.number))))
    assert sorted(t.user_attrs["job"] for t in search.study.best_trials) == [4, 5, 6, 7, 8]


def test_equal_parameters_are_trained_once_and_share_the_result():
    search = begin("random", space=(MODEL,), trials=10, workers=2)
    done = run(search, lambda p: Ended((float("abc".index(p.words[0][-1])),)))
    assert sorted(p.words[0] for p in done) == ["model=a", "model=b", "model=c"]  # all there are
    for trial in search.study.trials:
        assert trial.values == [float("abc".index(trial.params["model"]))]
        assert ("duplicate_of" in trial.user_attrs) != ("job" in trial.user_attrs)
    assert len(run(begin("random", space=(MODEL,), trials=10, repeat=True), lambda p: Ended((0.0,)))) == 10


def test_a_trial_that_equals_one_in_training_waits_for_its_result():
    search = begin("random", space=(MODEL,), trials=10, workers=10)
    batch = search.propose()
    assert len(batch) == 3 and len(search.study.trials) >= 3
    for proposal in batch:
        search.tell(proposal, Ended(failed="broken"))
    assert {trial.state.name for trial in search.study.trials} == {"FAIL"} and not search.propose()


def curve(proposal, evaluation: int) -> float:
    """The simulated loss after some evaluations: it falls to that of the words."""
    return loss(proposal.words) + math.exp(-evaluation / 4)


def steps_and_best(pruner) -> tuple[int, float]:
    """Train 32 trials of at most 16 evaluations; return the evaluations spent, and the best loss."""
    search, spent = begin("random", trials=32, workers=8, pruner=pruner), 0
    while batch := search.propose():
        training = dict.fromkeys(batch, 0)
        while training:  # all of a batch at the same pace, as lanes do
            for proposal in list(training):
                training[proposal] += 1
                spent += 1
                last, value = training[proposal] == 16, curve(proposal, training[proposal])
                stops = search.should_stop(proposal, training[proposal], value)
                if last or stops:
                    search.tell(proposal, Ended((value,)) if last else Ended(pruned="behind"))
                    del training[proposal]
    return spent, search.best()[1]


def test_pruning_halves_the_steps_for_the_same_best_value():
    whole, best = steps_and_best(NONE)
    assert whole == 32 * 16
    spent, found = steps_and_best(optuna.pruners.SuccessiveHalvingPruner(min_resource=1))
    print(f"evaluations: {whole} without pruning, {spent} with ASHA; best {best:.4f} and {found:.4f}")
    assert found == best and 2 * spent <= whole


def test_an_evaluation_without_a_number_prunes_nothing():
    search = begin(pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1))
    proposal, *_ = search.propose()
    assert not search.should_stop(proposal, 1, math.nan)
