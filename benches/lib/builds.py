"""Release builds of the server: of the working tree, of a commit, and of the working tree's commit with a patch."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers import say

ROOT = Path(__file__).resolve().parent.parent.parent
# What a server is built from.
SOURCES = ("src", "migrations", "build.rs", "Cargo.toml", "Cargo.lock")
# One directory for all builds, so that dependencies are compiled once. Not target/ itself: what is built here must not take the place
# of the binaries that a developer believes to be there.
TARGET = ROOT / "target" / "regression"
CACHE = TARGET / "servers"
MAX_CACHED = 8


class Failed(Exception):
    """A build that did not come about; says why and what to do."""


def git(*arguments: str, tree: Path = ROOT) -> str:
    """What git says; `Failed` with its own words if it refuses."""
    ran = subprocess.run(["git", "-C", str(tree), *arguments], capture_output=True, text=True)
    if ran.returncode != 0:
        raise Failed(f"git {' '.join(arguments)}: {ran.stderr.strip()}")
    return ran.stdout.strip()


def commit_of(revision: str) -> str:
    """The commit's full id."""
    return git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")


def has_same_sources(commit: str) -> bool:
    """Whether the working tree's server is built from what `commit` has."""
    changed = subprocess.run(["git", "-C", str(ROOT), "diff", "--quiet", commit, "--", *SOURCES]).returncode
    return changed == 0 and not git("ls-files", "--others", "--exclude-standard", "--", *SOURCES)


def cargo(tree: Path, package: str) -> Path:
    """Builds one package of `tree`. Each by itself: two at once would share features of their dependencies, and be other programs."""
    say(f"building {package} in {tree}")
    command = ["cargo", "build", "--release", "--quiet", "--locked", "-p", package, "--target-dir", str(TARGET)]
    if subprocess.run(command, cwd=tree).returncode != 0:
        raise Failed(f"{package} of {tree} cannot be built; cargo says why")
    return TARGET / "release" / package


def kept(binary: Path, name: str) -> Path:
    """A copy that the next build leaves alone."""
    CACHE.mkdir(parents=True, exist_ok=True)
    place = CACHE / name
    # By way of another name, so that one that is there is whole.
    shutil.copy2(binary, place.with_suffix(".new"))
    place.with_suffix(".new").rename(place)
    for old in sorted(CACHE.iterdir(), key=lambda file: file.stat().st_mtime, reverse=True)[MAX_CACHED:]:
        old.unlink()
    return place


def head() -> Path:
    """The server of the working tree."""
    return kept(cargo(ROOT, "parlor"), "head")


def loadgen() -> Path:
    """The generator of the working tree."""
    return cargo(ROOT, "loadgen")


def of_commit(commit: str) -> Path:
    """The server of a commit, built in a working tree of its own unless one of the same sources is there from an earlier time."""
    place = CACHE / sources_of(commit)
    if not place.exists():
        with tree_of(commit) as tree:
            kept(cargo(tree, "parlor"), place.name)
    os.utime(place)
    return place


def sources_of(commit: str) -> str:
    """A name for what the commit's server is built from: commits that change something else share it."""
    listing = git("ls-tree", commit, "--", *SOURCES)
    return hashlib.sha256(listing.encode()).hexdigest()[:16]


def of_patch(patch: Path) -> Path:
    """The server of the working tree's commit with `patch` applied."""
    with tree_of("HEAD") as tree:
        git("apply", str(patch), tree=tree)
        return kept(cargo(tree, "parlor"), patch.stem)


@contextmanager
def tree_of(revision: str) -> Iterator[Path]:
    """A working tree of a revision, gone afterwards. Always at the same place, so that each build's leavings replace the last one's;
    whoever else wants it waits."""
    TARGET.mkdir(parents=True, exist_ok=True)
    tree = TARGET / "tree"
    with (TARGET / "tree.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove(tree)
        try:
            git("worktree", "add", "--quiet", "--force", "--detach", str(tree), revision)
            yield tree
        finally:
            remove(tree)


def remove(tree: Path) -> None:
    """Takes a working tree away, also one that an interrupted run has left."""
    subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(tree)], capture_output=True)
    shutil.rmtree(tree, ignore_errors=True)
    git("worktree", "prune")
