"""A SLURM of one node on this machine's loopback, for tests: three daemons, pretend GPUs, no systemd, no accounting.

`python tests/support/slurm_cluster.py start|stop|install [FOLDER]` does by hand what the tests do. `install`
fetches Debian's packages; nothing is ever installed unasked. All of it needs root, who alone can make the devices of
pretend GPUs. There are no control groups, so that no job is ever killed for its memory.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = {"munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client"}
SYSTEM_CONFIGURATION = Path("/etc/slurm/slurm.conf")
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
CONFIGURATION = """
ClusterName=isthmus
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={node_port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/finished.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MinJobAge=3600
KillWait=20
ReturnToService=2
SlurmdParameters=config_overrides
GresTypes=gpu,shard
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:pretend:{gpus},shard:{shards} State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES PriorityTier=1 MaxTime=1440
PartitionName=gpu Nodes={host} PriorityTier=1 MaxTime=1440
PartitionName=urgent Nodes={host} PriorityTier=9 PreemptMode=OFF MaxTime=1440
"""


def missing() -> list[str]:
    """The Debian packages that are not installed."""
    return [package for program, package in PACKAGES.items() if shutil.which(program, path=PATH) is None]


def install() -> None:
    """Install what is missing. The packages start no daemon: their units want a configuration that is not there."""
    if wanted := missing():
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *wanted]
        subprocess.run(command, check=True, env=environment)


def _can_make_devices() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.mknod(Path(folder, "device"), 0o20666, os.makedev(1, 3))
        except PermissionError:
            return False
    return True


def why_not() -> str | None:
    """Why this machine cannot run the cluster, or None where it can."""
    if not sys.platform.startswith("linux"):
        return "SLURM runs on Linux"
    if wanted := missing():
        return (
            f"SLURM is not installed (apt-get install {' '.join(wanted)}, or: tests/support/slurm_cluster.py install)"
        )
    if not _can_make_devices():
        return "pretend GPUs are device files, which may not be made here (root can, outside of most containers)"
    if SYSTEM_CONFIGURATION.exists() and not SYSTEM_CONFIGURATION.is_symlink():
        return f"{SYSTEM_CONFIGURATION} belongs to a real cluster"
    return None


def until(what: str, seconds: float, true: Callable[[], bool]) -> None:
    """Wait until `true()`; TimeoutError that says `what` did not happen."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.2)


@dataclass
class Cluster:
    """The cluster whose configuration, state and logs are in `folder`."""

    folder: Path
    cpus: int = 4
    gpus: int = 2
    port: int = 26917
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def processes(self) -> Path:
        return self.folder / "processes"

    def start(self) -> None:
        self._configure()
        socket_file, key = self.folder / "munge.socket", self.folder / "munge.key"
        munge = ["munged", "--foreground", "--force", "--num-threads=2", f"--socket={socket_file}", f"--key-file={key}"]
        munge += [f"--{name}-file={self.folder}/munge.{name}" for name in ("pid", "seed", "log")]
        configuration = str(self.folder / "slurm.conf")
        self._launch(munge)
        until("munged answers", 10, lambda: self.ask("munge", "-n", "-S", str(socket_file)) is not None)
        self._launch(["slurmctld", "-D", "-f", configuration])
        until("slurmctld answers", 20, lambda: "is UP" in (self.ask("scontrol", "ping") or ""))
        self._launch(["slurmd", "-D", "-f", configuration, "-N", socket.gethostname().split(".")[0]])
        until(
            "the node is idle", 20, lambda: (self.ask("sinfo", "-h", "-p", "cpu", "-o", "%T") or "").strip() == "idle"
        )

    def stop(self) -> None:
        """Cancel all jobs and end the daemons that were started here."""
        self.ask("scancel", "--user", str(os.geteuid()))
        try:
            until("all jobs have ended", 30, lambda: not (self.ask("squeue", "-h") or "").strip())
        except TimeoutError as error:
            print(error, file=sys.stderr)
        for line in reversed(self.processes.read_text().splitlines() if self.processes.exists() else []):
            number, program = line.split()
            self._end(int(number), program)
        self.processes.unlink(missing_ok=True)
        if SYSTEM_CONFIGURATION.is_symlink() and SYSTEM_CONFIGURATION.readlink() == self.folder / "slurm.conf":
            SYSTEM_CONFIGURATION.unlink()

    def ask(self, *command: str) -> str | None:
        """What a command of SLURM prints, or None where it failed."""
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PATH": PATH})
        return done.stdout if done.returncode == 0 else None

    def _configure(self) -> None:
        for name in ("state", "spool", "devices"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)  # munged wants a folder that others can enter, and no others to write in it
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        devices = [self.folder / "devices" / f"nvidia{number}" for number in range(self.gpus)]
        for device in devices:  # SLURM sets CUDA_VISIBLE_DEVICES for character devices alone: these are null devices
            if not device.exists():
                os.mknod(device, 0o20666, os.makedev(1, 3))
        lines = [f"Name=gpu Type=pretend File={device}" for device in devices] + [f"Name=shard Count={4 * self.gpus}"]
        (self.folder / "gres.conf").write_text("\n".join(lines) + "\n")
        text = CONFIGURATION.format(
            host=socket.gethostname().split(".")[0],
            port=self.port,
            node_port=self.port + 1,
            user="root",
            folder=self.folder,
            cpus=self.cpus,
            memory=64000,  # pretended, too: what jobs ask for is a generous guess
            gpus=self.gpus,
            shards=4 * self.gpus,
        )
        (self.folder / "slurm.conf").write_text(text)
        # The plugin's job step drops SLURM_CONF from the environment of its srun: the default path has to lead here.
        SYSTEM_CONFIGURATION.parent.mkdir(exist_ok=True)
        SYSTEM_CONFIGURATION.unlink(missing_ok=True)
        SYSTEM_CONFIGURATION.symlink_to(self.folder / "slurm.conf")

    def _launch(self, command: list[str]) -> None:
        with (self.folder / f"{command[0]}.out").open("w") as out:
            environment = os.environ | {"PATH": PATH}
            self.daemons.append(
                subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)
            )
        with self.processes.open("a") as file:
            file.write(f"{self.daemons[-1].pid} {command[0]}\n")

    def _end(self, number: int, program: str) -> None:
        name = Path(f"/proc/{number}/comm")

        def gone() -> bool:
            for daemon in self.daemons:  # those that this process started
                daemon.poll()
            return not name.exists() or name.read_text().strip() != program

        for word in (signal.SIGTERM, signal.SIGKILL):
            if not gone():
                os.kill(number, word)
                try:
                    until(f"{program} ends", 10, gone)
                except TimeoutError:
                    continue


if __name__ == "__main__":
    action = sys.argv[1] if len(sys.argv) > 1 else ""
    cluster = Cluster(Path(sys.argv[2] if len(sys.argv) > 2 else "/tmp/isthmus-slurm"))
    actions = {"start": cluster.start, "stop": cluster.stop, "install": install}
    if action not in actions:
        sys.exit("usage: slurm_cluster.py start|stop|install [FOLDER]")
    actions[action]()
