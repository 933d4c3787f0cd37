# From a Git repository (`github`, `gitlab`, `gitfile`) Snakemake reads one file at a time, but the library has to be in a
# folder. The commit is unpacked there once, below .snakemake, which the nodes of a cluster see as well.

import os
import shutil
import tempfile

import git


def unpack(repository, commit, folder):
    """Write the workflow of a commit into a new folder.

    Every file gets the time of the last commit that changed it, since a job runs again if its script is newer than its
    results. Raises OSError if that fails, but not if another process made the folder meanwhile.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        packed, files = Path(temporary, "packed.zip"), Path(temporary, "files")
        with packed.open("wb") as stream:
            repository.archive(stream, commit, format="zip", path=["workflow", "envs", "config"])
        shutil.unpack_archive(packed, files)
        times = {}
        for line in filter(None, repository.git.log("--format=%ct", "--name-only", commit).splitlines()):
            if line.isdigit():
                committed = int(line)
            else:
                times.setdefault(files / line, committed)
        for file in filter(Path.exists, times):
            os.utime(file, (times[file], times[file]))
        try:
            files.rename(folder)
        except OSError:
            if not folder.exists():
                raise


source = workflow.current_basedir
repository = source.hosted_repo.repo if hasattr(source, "hosted_repo") else git.Repo(source.repo_path)
commit = repository.commit(source.ref).hexsha
HERE = Path(".snakemake", "isthmus", commit, "workflow").resolve()
if not HERE.exists():
    unpack(repository, commit, HERE.parent)
