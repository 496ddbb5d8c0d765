"""Train on Kubernetes: a JobSet, which starts a pod for each process and all of them again after one has failed.

The pods find one another by the names that the JobSet gives them. Started again, they continue the run with
`dltrain resume`. Kubernetes takes its YAML from kubectl; without submit=true it is only written and shown.
"""

import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dltrain.errors import ConfigError
from dltrain.launchers._plan import (
    Plan,
    check_counts,
    check_devices,
    check_name,
    choose_words,
    cpu_devices,
    exports,
    make_plan,
    text,
)

MOUNT = Path("/outputs")
API = "jobset.x-k8s.io/v1alpha2"
GRACE = 120  # seconds in which a pod that is told to end saves
QUANTITY = re.compile(r"\d+(\.\d+)?([KMGT]i?)?")


def launch(words: Sequence[str], options: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    """Write the JobSet of `dltrain WORDS`, show it, and apply it if that is asked for.

    Args:
        words: the command line.
        options: those of configs/launch/kubernetes.yaml.
        config: what the words compose to.

    Raises:
        ConfigError: an option cannot work, or kubectl is missing or refuses the JobSet.
    """
    submit = options["submit"] and not options["dry_run"]
    _check(options)
    check_devices(config, processes=options["hosts"], devices=options["gpus"] or cpu_devices())
    if submit and not shutil.which("kubectl"):
        raise ConfigError("submit=true: kubectl is not installed here; leave submit out to write the YAML only")
    plan = make_plan(words, "kubernetes", elastic=config["runtime"]["elastic"])
    path = plan.write("jobset.yaml", manifest(in_pods(plan, words, options), options))
    if not options["claim"]:
        print(
            f"claim=null: {MOUNT} is lost with a pod; name a PersistentVolumeClaim to keep the run, and continue it"
        )
    command = ["kubectl", "apply", "-f", str(path)]
    if not submit:
        print(f"not submitted; submit it with: {shlex.join(command)}")
        return 0
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise ConfigError(f"kubectl: {said[-1]}")
    label = f"jobset.sigs.k8s.io/jobset-name={options['name']}"
    print(
        f"{done.stdout.strip()}\nwhat it prints: kubectl logs --prefix --follow -l {label} --max-log-requests=100"
    )
    return 0


def _check(options: Mapping[str, Any]) -> None:
    check_counts(options, "hosts", "cpus")
    check_counts(options, "gpus", "restarts", low=0)
    check_name(options["name"])
    if not text(options["image"], "image"):
        raise ConfigError(
            "image: name a container image in which dltrain is installed: image=registry/me/dltrain:1"
        )
    if not QUANTITY.fullmatch(options["memory"]):
        raise ConfigError(f"memory={options['memory']}: must be a quantity of Kubernetes, such as 8Gi")
    if not 0 < options["port"] < 65536:
        raise ConfigError(f"port={options['port']}: must be 1 to 65535")
    for key in ("namespace", "claim"):
        text(options[key], key)


def in_pods(plan: Plan, words: Sequence[str], options: Mapping[str, Any]) -> Plan:
    """Return the plan as a pod sees it: its run is below the volume, or where the words say.

    Raises:
        ConfigError: what is to be continued is not on the volume.
    """
    if "resume" in words or any(word.startswith("output_dir=") for word in words):
        if not plan.run.is_relative_to(MOUNT):
            raise ConfigError(f"{plan.run}: pods see only {MOUNT}; name a folder there, or leave output_dir out")
        return plan
    day, time = plan.folder.parent.name, plan.folder.name.removesuffix("-kubernetes")
    run = MOUNT / f"{day}-{time}-{options['name']}"
    first = (*plan.first[:-1], f"output_dir={run}")
    return Plan(plan.folder, run, first, first if plan.repeats else ("resume", str(run), *plan.again[2:]))


def manifest(plan: Plan, options: Mapping[str, Any]) -> str:
    """Return the YAML of the JobSet, with the script on lines of its own."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes a text of several lines as they are."""

    def write(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, write)
    name, hosts = options["name"], options["hosts"]
    amounts = {"cpu": options["cpus"], "memory": options["memory"]}
    if options["gpus"]:
        amounts["nvidia.com/gpu"] = options["gpus"]
    container: dict[str, Any] = {
        "name": "dltrain",
        "image": options["image"],
        "command": ["/bin/sh", "-c", script(plan, name=name, hosts=hosts, port=options["port"])],
        "env": [{"name": key, "value": value} for key, value in exports().items() if key != "PYTHONPATH"],
        "ports": [{"containerPort": options["port"]}],
        "resources": {"requests": amounts, "limits": amounts.copy()},
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        "containers": [container],
    }
    if options["claim"]:
        container["volumeMounts"] = [{"name": "outputs", "mountPath": str(MOUNT)}]
        pod["volumes"] = [{"name": "outputs", "persistentVolumeClaim": {"claimName": options["claim"]}}]
    job = {"parallelism": hosts, "completions": hosts, "completionMode": "Indexed", "backoffLimit": 0}
    metadata = {"name": name} | ({"namespace": options["namespace"]} if options["namespace"] else {})
    found = {
        "apiVersion": API,
        "kind": "JobSet",
        "metadata": metadata,
        "spec": {
            "failurePolicy": {"maxRestarts": options["restarts"]},
            "network": {"enableDNSHostnames": True, "subdomain": name},
            "replicatedJobs": [
                {"name": "host", "replicas": 1, "template": {"spec": {**job, "template": {"spec": pod}}}}
            ],
        },
    }
    return yaml.dump(found, Dumper=Dumper, sort_keys=False, width=1000)


def script(plan: Plan, *, name: str, hosts: int, port: int) -> str:
    """Return what the shell of a pod runs; the pod's index is in JOB_COMPLETION_INDEX."""
    place = f"{{coordinator: '{name}-host-0-0.{name}:{port}', count: {hosts}, index: $JOB_COMPLETION_INDEX}}"
    return (
        "# Pods that are started again continue the run; a run without a checkpoint starts from the beginning.\n"
        f"{choose_words(plan, again='overwrite=true')}"
        f'exec dltrain "$@" "runtime.hosts={place}"\n'
    )
