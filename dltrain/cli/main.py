"""From the command line to a command and an exit code. The only file that imports Hydra, and only inside functions.

Hydra composes YAML, sweeps and completes words; its messages and its exit codes stay in here.
"""

import contextlib
import copy
import errno
import importlib
import io
import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, cast

from dltrain import __version__
from dltrain.cli import help as texts
from dltrain.cli.argv import Words, commands, no_command, take_apart
from dltrain.config.call import Call, Composed
from dltrain.config.catalogue import catalogue
from dltrain.config.folders import Tree, read_tree, roots, yaml_fault
from dltrain.config.schema import COMMANDS
from dltrain.errors import (
    BACKGROUND,
    THIRD_PARTY,
    ConfigError,
    DiskError,
    DltrainError,
    Interrupted,
    MemoryExhausted,
    Terminated,
)
from dltrain.runs.files import hide

OF_THE_SYSTEM = {  # faults of a disk or its rights, never of a program
    *(
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
        errno.ENAMETOOLONG,
    ),
    *(errno.ELOOP, errno.EMFILE, errno.ENFILE),
}
NO_MEMORY = ("RESOURCE_EXHAUSTED", "can't start new thread")  # as jax says it, which is not imported, and Python
ASKED = threading.Event()  # Ctrl-C came; a library may swallow the exception and fail later with one of its own
LAUNCHING = re.compile(r"hydra(/launcher=|/sweeper=|\.launcher\.|\.sweeper\.)")


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    owned = argv is None  # the process, which ends with this command line
    if owned:
        signal.signal(signal.SIGINT, _interrupt)
        sys.unraisablehook = _raised_elsewhere
        for foreign in map(logging.getLogger, THIRD_PARTY):
            foreign.addHandler(logging.NullHandler())  # outside a run's folder it goes nowhere
            foreign.propagate = False
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.encoding.lower() not in ("utf-8", "utf8"):
        sys.stdout.reconfigure(errors="replace")  # our own text has ≥ and ²
    argv = sys.argv[1:] if argv is None else argv
    asked = list(argv)  # texts that may ask the environment
    try:
        code = _run(argv, asked)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has left (dltrain list | head)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 6
    except (KeyboardInterrupt, Exception) as error:
        if _interrupted(error):
            print("dltrain: interrupted", file=sys.stderr)
            return _leave(130) if owned else 130
        return _report(error if isinstance(error, DltrainError) else _fault(error), asked=asked)
    return code


def _interrupted(error: BaseException) -> bool:
    """Say whether Ctrl-C ended this before a run could save itself, if only through what a library made of it."""
    saved = isinstance(error, (Interrupted, Terminated))
    return isinstance(error, KeyboardInterrupt) or (ASKED.is_set() and not saved)


def _leave(code: int) -> NoReturn:
    """End the process without the interpreter's end: a C++ library interrupted halfway may crash or hang in it."""
    logging.shutdown()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(code)


def _interrupt(number: int, frame: Any) -> None:
    """Raise KeyboardInterrupt, a moment later where it would be lost or kill the process.

    jax runs Python in the garbage collector, which swallows it; a C++ library that is being imported may crash.
    """
    while frame is not None:
        if frame.f_code.co_name == "_xla_gc_callback" or frame.f_code.co_filename.startswith("<frozen importlib"):
            threading.Timer(0.02, os.kill, (os.getpid(), number)).start()
            return
        frame = frame.f_back
    ASKED.set()
    raise KeyboardInterrupt


def _raised_elsewhere(raised: Any) -> None:
    """Leave what a thread of C++ raises to train.log: whoever waits for its work reports the failure."""
    if threading.current_thread() is threading.main_thread():
        sys.__unraisablehook__(raised)
    else:
        about = (raised.exc_type, raised.exc_value, raised.exc_traceback)
        logging.getLogger(BACKGROUND).error("raised in another thread", exc_info=about)


def _run(argv: list[str], asked: list[str]) -> int:
    if strange := next((word for word in argv if word.encode(errors="ignore") != os.fsencode(word)), None):
        raise ConfigError(f"{strange!r}: is no UTF-8 text")
    known = commands()
    words = take_apart(argv, known)
    if "--version" in words.flags:
        print(f"dltrain {__version__}")
        return 0
    if "--shell-completion" in words.flags:
        return _complete(words.flags["--shell-completion"], known)
    folders = roots(words.flags.get("--config-dir"))
    tree = read_tree(folders)
    if "--help" in words.flags:
        print(_help(words, known, tree, folders))
        return 0
    if words.words and not words.named:
        raise ConfigError(no_command(words.words[0], known, tree))
    if words.words and words.command == "train":
        raise ConfigError(f"{words.words[0]}: dltrain train takes group=choice and key=value only")
    if words.command != "train" and (flag := next((f for f in ("--multirun", "--cfg") if f in words.flags), None)):
        raise ConfigError(f"{flag}: goes with training only")
    if "--multirun" in words.flags:
        return _sweep(words.overrides, folders, tree)
    if words.flags.get("--cfg", "job") != "job":
        raise ConfigError(f"--cfg {words.flags['--cfg']}: must be --cfg job")
    typed = _typed(words.command, words.overrides, folders, tree)
    _check_early(typed)
    call = _call(typed, words.words, asked)
    if "--cfg" in words.flags:
        print(_call(replace(typed, imports=False)).compose("train").text, end="")
        return 0
    return _command(words.command).run(call)


def _help(words: Words, known: dict[str, str], tree: Tree, folders: tuple[Path, ...]) -> str:
    if not words.named:
        return texts.overview(known)
    if words.command == "train":
        return texts.of_training(tree, folders)
    return texts.of_command(words.command, known[words.command], folders)


def _command(name: str) -> Any:
    return importlib.import_module(f"dltrain.commands.{name}")


def _typed(command: str, overrides: tuple[str, ...], folders: tuple[Path, ...], tree: Tree) -> Any:
    """Read the key=value words; of a key that was typed twice the last one counts."""
    from dltrain.config.compose import Typed

    read = {o.key: o for o in (_single(_literal(command, word), tree) for word in overrides)}
    if "trust" in read and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # a package of the user's own often stands where dltrain is started
    return Typed(command, tuple(read.values()), folders, tree, _loader(folders), _targets)


def _targets() -> Any:
    """Import what turns YAML into objects: it needs jax, which takes a second."""
    return importlib.import_module("dltrain.build.instantiate")


def _literal(command: str, word: str) -> str:
    """Quote what is meant for a reader: no sign in the prompt of `generate` has a meaning of its own."""
    key, _, text = word.partition("=")
    if (command, key) != ("generate", "prompt") or text in ("", "null") or text[0] in "'\"":
        return word
    return f"{key}={_quoted(text)}"


def _check_early(typed: Any) -> None:
    """Check what needs no jax before a command is imported, which takes seconds."""
    from dltrain.config import compose as composing

    calm = replace(typed, imports=False)
    if typed.command == "train":
        composing.compose(calm, "train")
    elif typed.command in COMMANDS:
        composing.check_overrides(calm)


def _call(typed: Any, words: tuple[str, ...] = (), asked: list[str] | None = None) -> Call:
    """Make a call whose config is composed when the command asks for it; `asked` gets the config's text."""
    from dltrain.config import compose as composing

    def noted(composed: Composed) -> Composed:
        if asked is not None:
            asked.append(composed.text)
        return composed

    return Call(
        words=words,
        overrides=tuple(o.word for o in typed.overrides),
        compose=lambda name: noted(composing.compose(typed, name)),
        amend=lambda saved: noted(composing.amend(typed, saved)),
        folders=typed.folders,
    )


def compose_words(*words: str) -> Composed:
    """Compose a training config from group=choice and key=value words, as the command line would."""
    folders = roots(None)
    return _call(_typed("train", words, folders, read_tree(folders))).compose("train")


def amend_words(saved: Mapping[str, Any], *words: str) -> Composed:
    """Lay words over the config of a run folder, as `dltrain evaluate RUN` would; what it lacks is filled in."""
    folders = roots(None)
    return _call(_typed("evaluate", words, folders, read_tree(folders))).amend(saved)


def _single(word: str, tree: Tree) -> Any:
    """Read one key=value word that holds one value."""
    o, sweep = _read(word, tree)
    if sweep is not None:
        text = o.text if not re.match(r"\w+\(", o.text) else "a,b"
        raise ConfigError(f"{o.word}: several values; -m makes a run for each, {o.key}=[{text}] is a list of them")
    if o.key.split(".")[0].split("/")[0] == "hydra":
        raise ConfigError(f"{o.word}: hydra is set up by dltrain; hydra.launcher and hydra.sweeper go with -m")
    return o


def _read(word: str, tree: Tree) -> tuple[Any, list[Any] | None]:
    """Read a key=value word by Hydra's grammar: the override, and the values of a sweep."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Glob, ValueType
    from hydra.errors import HydraException

    from dltrain.config.compose import Override

    key, _, text = word.lstrip("+").partition("=")
    if word.startswith("~"):
        raise ConfigError(f"{word}: keys are not removed; set another value, such as {key[1:]}=null")
    if "@" in key or ":" in key or not key:
        raise ConfigError(f"{word}: must be group=choice or key=value")
    parser = OverridesParser.create()
    try:
        try:
            parsed = parser.parse_override(f"{key}={text}")
        except HydraException:
            if not text or text[0] in "[{'\"" or re.match(r"\w+\(", text):
                raise
            text = _quoted(text)  # characters outside Hydra's grammar: taken as the text that was typed
            parsed = parser.parse_override(f"{key}={text}")
    except (HydraException, RecursionError) as error:
        raise ConfigError(
            f"{word}: cannot be read; text with brackets or other signs is quoted: \"{key}='...'\""
        ) from error
    plain = f"{key}={text}"
    if parsed.value_type == ValueType.GLOB_CHOICE_SWEEP:
        glob = parsed.value()
        names = glob.filter(list(tree.get(key, {}))) if isinstance(glob, Glob) else []
        if not names:
            raise ConfigError(f"{word}: matches no choice (choices: {', '.join(tree.get(key, {}))})")
        return _read(f"{key}={','.join(names)}", tree)
    if parsed.is_sweep_override():
        values = (
            [_read(f"{key}={v}", tree)[0] for v in parsed.sweep_string_iterator()]
            if parsed.is_discrete_sweep()
            else []
        )
        return Override(plain, key, None, text), values
    return Override(plain, key, parsed.value(), text), None


def _quoted(text: str) -> str:
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"


def _loader(folders: tuple[Path, ...]) -> Callable[[str, Sequence[str]], Any]:
    """Return a function that lets Hydra compose a YAML of `folders`, and remembers what it has composed."""
    done: dict[tuple[str, ...], Any] = {}

    def load(name: str, words: Sequence[str]) -> Any:
        import hydra
        from hydra.core.global_hydra import GlobalHydra

        if (name, *words) not in done:
            inside = GlobalHydra.instance().is_initialized()  # in a job of a sweep, with the same folders
            start = (
                contextlib.nullcontext() if inside else hydra.initialize_config_dir(str(folders[0]), **_version())
            )
            with _worded(), start:
                done[name, *words] = hydra.compose(name, [*words, *_search(folders)])
        return copy.deepcopy(done[name, *words])

    return load


def _search(folders: tuple[Path, ...]) -> list[str]:
    more = ",".join(_quoted(f"file://{folder}") for folder in folders[1:])
    return [f"hydra.searchpath=[{more}]"] if more else []


def _version() -> dict[str, Any]:
    """Ask for Hydra 1.3's behaviour; 1.4 has only one and warns of the word."""
    import hydra

    return {"version_base": "1.3"} if tuple(map(int, hydra.__version__.split(".")[:2])) < (1, 4) else {}


@contextlib.contextmanager
def _worded() -> Generator[None]:
    """Turn Hydra's and OmegaConf's exceptions into ours, and keep Hydra from printing and leaving."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    except YAMLError as error:
        raise ConfigError(
            yaml_fault(getattr(getattr(error, "problem_mark", None), "name", "a YAML file"), error)
        ) from error
    except (HydraException, OmegaConfBaseException) as error:
        lines = [line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()]
        text = re.sub(
            r"^In '([^']+)':\s*", r"\1.yaml: ", " ".join(lines[:2] if lines[0].endswith(":") else lines[:1])
        )
        text = re.sub(r".*Could not find 'hydra/(\w+)/(\w+)'.*", r"hydra/\1=\2: no such \1 is installed", text)
        raise ConfigError(text.replace("Hydra", "dltrain") or "the config cannot be composed") from error
    finally:
        os.environ.pop("HYDRA_FULL_ERROR")
        if before is not None:
            os.environ["HYDRA_FULL_ERROR"] = before


def _sweep(words: tuple[str, ...], folders: tuple[Path, ...], tree: Tree) -> int:
    """Run every combination; the exit code is that of the first job that failed."""
    import hydra

    from dltrain.config.compose import check_sweep

    launching = [w for w in words if LAUNCHING.match(w)]
    if code := next((w for w in launching if re.search(r"_target_|\.params\b.*\bhydra\b", w)), None):
        raise ConfigError(f"{code}: a launcher or sweeper is chosen by name: hydra/launcher=joblib")
    read = {o.key: (o, sweep) for o, sweep in (_read(w, tree) for w in words if w not in launching)}
    if wrong := next((o for o, _ in read.values() if o.key.split(".")[0].split("/")[0] == "hydra"), None):
        raise ConfigError(f"{wrong.word}: only hydra/launcher, hydra/sweeper and their parameters may be set")
    place = read.pop("output_dir")[0].value if "output_dir" in read else None
    first = [o if sweep is None else sweep[0] for o, sweep in read.values() if sweep is None or sweep]
    check_sweep([s for _, sweep in read.values() for s in sweep or []], tree)
    _call(_typed("train", tuple(o.word for o in first), folders, tree)).compose("train")
    _check_hydra([*launching, *(o.word for o in first if o.key in tree)], folders)
    folder = _claim(place, overwrite=any(o.key == "overwrite" and o.value is True for o in first))
    passed = [f"{o.key}={o.text}" if o.key in tree else f"++{o.key}={o.text}" for o, _ in read.values()]
    ours = [f"hydra.sweep.dir={_quoted(str(folder))}", "hydra.sweep.subdir=${hydra.job.num}"]
    ours += ["hydra.output_subdir=null", "hydra.job.chdir=false"]
    ours += ["hydra/job_logging=none", "hydra/hydra_logging=none", *_search(folders)]
    code, quiet = 0, contextlib.redirect_stderr(cast(Any, _WithoutHydra(sys.stderr)))
    try:
        with _worded(), _arguments("-m", *launching, *passed, *ours), quiet:
            hydra.main(config_path=str(folders[0]), config_name="train", **_version())(_job)()
    except DltrainError as error:
        if not hasattr(error, "job"):  # nothing was started
            with contextlib.suppress(OSError):
                folder.rmdir()
            raise
        code = error.code  # of the first job that failed, reported when it did
    except _Stopped as stopped:
        code = stopped.code
    except KeyboardInterrupt:  # between two jobs
        code = 130
    (folder / "multirun.yaml").unlink(missing_ok=True)  # Hydra's own; each job's folder says what it was
    importlib.import_module("dltrain.report.sweep").summarise(folder)
    return code


def _check_hydra(words: Sequence[str], folders: tuple[Path, ...]) -> None:
    """Refuse a composed `hydra` node that makes Hydra call code: a second look, whichever way it came in."""
    import hydra
    from omegaconf import OmegaConf

    with _worded(), hydra.initialize_config_dir(str(folders[0]), **_version()):
        node = hydra.compose("train", [*words, *_search(folders)], return_hydra_config=True).hydra
        plugins: Any = {n: OmegaConf.to_container(node[n], resolve=True) for n in ("launcher", "sweeper")}
    for name, plugin in plugins.items():
        home = str(plugin["_target_"]).partition(".")[0]
        if home not in ("hydra", "hydra_plugins") or str(plugin).count("_target_") > 1:
            raise ConfigError(f"hydra.{name}: names code of its own; choose one by name: hydra/{name}=...")
    if node.callbacks:
        raise ConfigError(f"hydra.callbacks: {', '.join(node.callbacks)}: dltrain lets Hydra call nothing")


class _Stopped(BaseException):
    """Ends a sweep from inside a job: Ctrl-C and SIGTERM are meant for all of it, not for one job."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _WithoutHydra:
    """A stderr that leaves out the line with which Hydra announces an exception that has been reported already."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return len(text) if text.startswith("Error executing job with overrides") else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _job(_: Any) -> None:
    """Train one combination of a sweep, in whatever process the launcher chose, in the folder that Hydra names."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    settings = HydraConfig.get()
    typed: Any = OmegaConf.to_container(settings.overrides, resolve=False)  # no secret shall stand in the words
    folders = tuple(Path(s.path) for s in settings.runtime.config_sources if s.schema == "file")
    number = int(settings.job.num)
    words = tuple(word.lstrip("+") for word in typed["task"])
    asked = list(words)
    print(f"\njob {number}: {' '.join(words)}", flush=True)
    try:
        call = _call(_typed("train", words, folders, read_tree(folders)), asked=asked)
        code = _command("train").run(replace(call, folder=Path(settings.runtime.output_dir), job=number))
        failed = DltrainError(f"training ended with code {code}") if code else None
        if failed is not None:
            failed.code = code
    except (Interrupted, Terminated) as error:
        raise _Stopped(_report(error, asked=asked)) from error
    except (KeyboardInterrupt, Exception) as error:
        if _interrupted(error):
            raise _Stopped(130) from None
        failed = error if isinstance(error, DltrainError) else _fault(error)
    if failed is not None:
        failed.job = number  # ty: ignore[missing-attribute]
        _keep_failure(Path(settings.runtime.output_dir), hide(str(failed), asked))
        _report(failed, f"job {number}: ", asked=asked)
        raise failed


def _keep_failure(folder: Path, message: str) -> None:
    """Keep why a job never became a run, for the sweep's table: it may have been tried in another process."""
    run = importlib.import_module("dltrain.runs.folder").RunFolder(folder)
    if folder.is_dir() and not run.config.exists():
        with contextlib.suppress(OSError):
            run.failure.write_text(f"{(message.splitlines() or [''])[0]}\n", encoding="utf-8")


def _claim(place: str | None, *, overwrite: bool) -> Path:
    """Make the folder of a sweep, which no other start can have."""
    if place is not None:
        folder = Path(place).expanduser().resolve()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not overwrite:
            raise ConfigError(f"output_dir={place}: is not empty; choose another, or overwrite=true")
        folder.mkdir(parents=True, exist_ok=True)
        for job in [p for p in folder.iterdir() if p.name.isdigit() and p.is_dir()]:
            _clear(job)
        return folder
    now = datetime.now()
    day = Path("multirun", now.strftime("%Y-%m-%d")).resolve()
    day.mkdir(parents=True, exist_ok=True)
    for n in range(1, 1000):
        folder = day / (now.strftime("%H-%M-%S") + (f"-{n}" if n > 1 else ""))
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise ConfigError(f"{day}: too many sweeps started in one second")


def _clear(job: Path) -> None:
    """Delete the run of an earlier sweep; a folder that holds anything else is left."""
    run = importlib.import_module("dltrain.runs.folder").RunFolder(job)
    run.lock()
    run.clear()
    run.release()
    for path in (run.failure, job / "lock"):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        job.rmdir()


def _complete(wanted: str, known: dict[str, str]) -> int:
    """Answer the shell: Hydra completes keys and values; commands and choices are ours."""
    import hydra

    if not re.fullmatch(r"(install|uninstall|query)=(bash|zsh|fish)", wanted):
        raise ConfigError(f"-sc {wanted}: must be install=bash, zsh or fish, or uninstall=bash")
    words = os.environ.get("COMP_LINE", "").split(" ")
    place = words[words.index("--config-dir") + 1] if "--config-dir" in words[:-2] else None
    *before, last = [w for w in words[1:] if w not in ("--config-dir", place)] or [""]
    command = next((w for w in before if w in known), None)
    found: list[str] = []
    if wanted.startswith("query="):
        folders = roots(place)
        tree, group = read_tree(folders), last.partition("=")[0]
        if command == "list" or ("=" in last and group in tree):
            groups = catalogue(tree) if command == "list" else [f"{group}={choice}" for choice in tree[group]]
            print(" ".join(groups))
            return 0
        if command is None and not [w for w in before if "=" in w]:
            found = [name for name in known if name.startswith(last)]
        os.environ["COMP_LINE"] = " ".join(["dltrain", *(w for w in before if "=" in w), last])
    else:
        folders = roots(None)
    more = ["--config-dir", str(folders[1])] if len(folders) > 1 else []
    answer = io.StringIO()
    with _worded(), _arguments(*more, "-sc", wanted), contextlib.redirect_stdout(answer):
        hydra.main(config_path=str(folders[0]), config_name="train", **_version())(_job)()
    if wanted.startswith("query="):
        found += [word for word in answer.getvalue().split() if not word.startswith("hydra")]
    print(" ".join(found) if wanted.startswith("query=") else answer.getvalue().rstrip("\n"))
    return 0


@contextlib.contextmanager
def _arguments(*words: str) -> Generator[None]:
    before = sys.argv
    sys.argv = ["dltrain", *words]
    try:
        yield
    finally:
        sys.argv = before


def _fault(error: BaseException) -> DltrainError:
    """Wrap what should not have happened."""
    first = (str(error).splitlines() or [""])[0]
    if isinstance(error, MemoryError) or any(sign in first for sign in NO_MEMORY):
        full = MemoryExhausted(
            f"out of memory: {first or 'the system gave none'}; checkpoints written before are whole. "
            "Try a smaller batch_size, optim.accumulate=4, data.feed=streamed, or on a GPU model.remat=true"
        )
        full.__cause__ = error
        return full
    if isinstance(error, OSError) and error.errno in OF_THE_SYSTEM:
        failed = DiskError(f"{error.filename or 'input or output'}: {error.strerror}")
        failed.__cause__ = error
        return failed
    wrapped = DltrainError(
        f"internal error: {type(error).__name__}: {first} "
        "(please report it; the traceback is in the train.log of the run, or shown with DLTRAIN_TRACEBACK=1)"
    )
    wrapped.__cause__ = error
    return wrapped


def _report(error: DltrainError, prefix: str = "", asked: Sequence[str] = ()) -> int:
    """Say what went wrong, with no value of an environment variable that `asked` names, and return the code."""
    if os.environ.get("DLTRAIN_TRACEBACK") == "1":
        print(hide("".join(traceback.format_exception(error)), asked), end="", file=sys.stderr)
    for line in hide(str(error), asked).splitlines() or [type(error).__name__]:
        print(f"dltrain: {prefix}{line}", file=sys.stderr)
    return error.code
