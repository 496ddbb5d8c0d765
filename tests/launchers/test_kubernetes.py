"""The JobSet of Kubernetes: its YAML, the shell of a pod, and what is refused."""

import os
import re
import subprocess

import pytest
import yaml
from processes import COMPOSED

from dltrain.cli.main import main
from dltrain.errors import ConfigError
from dltrain.launchers import kubernetes as launcher
from dltrain.launchers._plan import make_plan

OPTIONS = {
    **{"image": "me/dltrain:1", "hosts": 4, "gpus": 8, "cpus": 16, "memory": "64Gi", "claim": "runs"},
    **{"namespace": None, "name": "mnist", "port": 1234, "restarts": 3, "submit": False, "dry_run": False},
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(*words, elastic=False, **options):
    chosen = {**OPTIONS, **options}
    plan = launcher.in_pods(make_plan(words, "kubernetes", elastic=elastic), words, chosen)
    return yaml.safe_load(launcher.manifest(plan, chosen))


def test_the_jobset_has_a_pod_for_each_process():
    found = written("model=cnn", namespace="team")
    assert (found["kind"], found["metadata"]) == ("JobSet", {"name": "mnist", "namespace": "team"})
    (job,) = found["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    assert (spec["parallelism"], spec["completions"], spec["completionMode"]) == (4, 4, "Indexed")
    assert found["spec"]["failurePolicy"] == {"maxRestarts": 3} and spec["backoffLimit"] == 0
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"cpu": 16, "memory": "64Gi", "nvidia.com/gpu": 8}
    assert container["volumeMounts"][0]["name"] == pod["volumes"][0]["name"]
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "runs"}


def test_a_pod_starts_its_process_at_the_address_that_the_jobset_gives(here):
    (job,) = written("data=iris", "model.widths=[1, 2]")["spec"]["replicatedJobs"]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    path = here / "dltrain"
    path.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    path.chmod(0o755)
    environment = {"PATH": f"{here}:{os.environ['PATH']}", "JOB_COMPLETION_INDEX": "2"}
    done = subprocess.run(container["command"], env=environment, capture_output=True, text=True)
    place = "{coordinator: 'mnist-host-0-0.mnist:1234', count: 4, index: 2}"
    data, widths, run, anew, hosts = done.stdout.splitlines()
    assert (data, widths, anew, hosts) == (
        "data=iris",
        "model.widths=[1, 2]",
        "overwrite=true",
        f"runtime.hosts={place}",
    )
    assert re.fullmatch(r"output_dir=/outputs/\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d(-\d)?-mnist", run)


def test_pods_of_an_elastic_run_have_the_same_command_at_each_start():
    (job,) = written("data=iris", "runtime.elastic=true", elastic=True)["spec"]["replicatedJobs"]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    text = container["command"][-1]
    assert "set -- data=iris runtime.elastic=true output_dir=/outputs/" in text
    assert "resume" not in text and "overwrite" not in text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image": None}, "image: name a container image"),
        ({"hosts": 0}, "hosts=0"),
        ({"memory": "much"}, "memory=much"),
        ({"port": 70000}, "port=70000"),
        ({"name": "A_b"}, "name=A_b"),
        ({"claim": 3}, "claim=3"),
    ],
)
def test_what_cannot_work_is_refused(changed, message, here):
    with pytest.raises(ConfigError, match=re.escape(message)):
        launcher.launch(["data=iris"], {**OPTIONS, **changed}, COMPOSED)
    assert not any(here.iterdir())


def test_a_run_has_to_be_where_pods_see_it():
    with pytest.raises(ConfigError, match="pods see only /outputs"):
        launcher.launch(["data=iris", "output_dir=here"], OPTIONS, COMPOSED)


def test_without_kubectl_nothing_is_written_for_submission(here, monkeypatch):
    monkeypatch.setenv("PATH", str(here))
    with pytest.raises(ConfigError, match="kubectl is not installed"):
        launcher.launch(["data=iris"], {**OPTIONS, "submit": True}, COMPOSED)
    assert not any(here.iterdir())


def test_only_submit_applies_the_yaml(here, monkeypatch, capsys):
    (here / "bin").mkdir()
    path = here / "bin" / "kubectl"
    path.write_text(f'#!/bin/sh\necho "$@" >> {here}/called\necho jobset created\n')
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{here / 'bin'}:{os.environ['PATH']}")
    assert main(["launch", "kubernetes", "image=i", "--", "data=iris"]) == 0
    assert not (here / "called").exists()
    assert main(["launch", "kubernetes", "image=i", "submit=true", "--", "data=iris"]) == 0
    shown = capsys.readouterr().out
    assert '\n                exec dltrain "$@"' in shown  # as a script is read
    _, second = sorted(here.glob("outputs/*/*/jobset.yaml"), key=lambda p: p.stat().st_mtime_ns)
    assert (here / "called").read_text() == f"apply -f {second}\n"
    assert "kubectl logs --prefix" in shown
