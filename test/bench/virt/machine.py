# SPDX-License-Identifier: ISC
"""What is measured by `make bench-virt`: contenders, each a service that can be started, asked and stopped.

   Guest       a Linux guest of guests.py under QEMU
   Appliance   one of ours as a virtual machine, by the same QEMU command but for kernel and words
   Process     one of ours as a process over a tap
   Host        lighttpd, nginx, BIND or NSD as a process, over a veth pair

Each has a network namespace of its own, in which the load generator runs; server on core 0, load on core 1.
"""
import os
import re
import signal
import subprocess
import tempfile
import time

import guests

SERVER_CPU, LOAD_CPU = "0", "1"
MAC = "52:54:00:4d:49:01"
PORT = {"http": 80, "dns": 53}
# The model that Linux does best with under TCG: no string instructions, which are emulated byte by byte, and a source of
# randomness, for which BIND and NSD otherwise wait a second.
CPU_MODEL = "qemu64,+rdrand"
TYPES = {"q35": ("-M", "q35"), "microvm": ("-M", "microvm,rtc=on,pit=on,pic=on")}
NIC = {"q35": "virtio-net-pci,romfile=", "microvm": "virtio-net-device"}
spaces, processes = [], []


class Failure(Exception):
    """Something that had to work did not."""


def run(*command, seconds=120):
    """The output of a command that must succeed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          timeout=seconds)
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}")
    return done.stdout


def namespace(label):
    name = f"mirari-virt-{os.getpid()}-{label}"
    run("ip", "netns", "add", name)
    spaces.append(name)
    run("ip", "-n", name, "link", "set", "lo", "up")
    return name


def tap_namespace(label):
    """A namespace with a tap that waits for a guest. Boot times want the permanent neighbour and the short queue:
    no question waits for the host's ARP timer, and few that nobody took are answered late."""
    space = namespace(label)
    run("ip", "-n", space, "tuntap", "add", "dev", "tap0", "mode", "tap", "vnet_hdr")
    run("ip", "-n", space, "address", "add", f"{guests.HOST_IP}/24", "dev", "tap0")
    run("ip", "-n", space, "link", "set", "tap0", "up")
    run("ip", "-n", space, "neighbour", "replace", guests.GUEST_IP, "lladdr", MAC, "dev", "tap0", "nud", "permanent")
    return space


def queue_length(space, frames):
    """Frames that the tap keeps for a guest that is not there yet; 8 for boot times, 1,000 (the default) for load."""
    run("ip", "-n", space, "link", "set", "tap0", "txqueuelen", str(frames))


def on(space, cpu, *command):
    return ["ip", "netns", "exec", space, "nice", "-n", "-20", "taskset", "-c", cpu, *command]


def stop_processes():
    for process in list(processes):  # stop() takes each out
        stop(process)


def clean_up():
    stop_processes()
    for name in spaces:
        subprocess.run(["ip", "netns", "delete", name], check=False)
    spaces.clear()


def stop(process):
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait()
    if process in processes:
        processes.remove(process)


def family(pid):
    """A process and all below it."""
    found = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as children:
            for child in children.read().split():
                found += family(int(child))
    return found


def cpu_seconds(pid):
    """Processor time of a process and all below it, threads included."""
    ticks = 0
    for each in family(pid):
        with open(f"/proc/{each}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def qemu(machine, memory_mb, kernel, words, initrd=None, cpu=CPU_MODEL):
    """The command of a guest: the same for everybody."""
    return ["qemu-system-x86_64", *TYPES[machine], "-accel", "tcg", "-cpu", cpu, "-m", f"{memory_mb}M", "-nodefaults",
            "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", kernel,
            *(["-initrd", initrd] if initrd else []), "-append", words, "-netdev",
            "tap,id=net,ifname=tap0,script=no,downscript=no", "-device", f"{NIC[machine]},netdev=net,mac={MAC}"]


class Contender:
    """What all have: name, service, the namespaces of server and load, the command."""

    is_guest = False
    image_bytes = None
    path = "/600.html"

    def __init__(self, name, service):
        self.name, self.service = name, service
        self.ip = guests.GUEST_IP
        self.load_space = self.server_space = None
        self.process = None

    def command(self, memory_mb):
        raise NotImplementedError

    def start(self, memory_mb, limit_s=30):
        """Starts it and waits until it answers; False: it ended, or did not within the limit."""
        if self.load_space.endswith("-tap"):
            queue_length(self.load_space, 1000)
        self.out = tempfile.TemporaryFile()
        self.process = subprocess.Popen(on(self.server_space, SERVER_CPU, *self.command(memory_mb)), stdout=self.out,
                                        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        processes.append(self.process)
        end = time.monotonic() + limit_s
        while time.monotonic() < end and self.process.poll() is None:
            if self.answers():
                return True
            time.sleep(0.05)
        return False

    def answers(self):
        if self.service == "http":
            done = subprocess.run(["ip", "netns", "exec", self.load_space, "curl", "-s", "-m", "2", "-o", "/dev/null", "-w",
                                   "%{http_code} %{size_download}", f"http://{self.ip}/600.html"], text=True, check=False,
                                  stdout=subprocess.PIPE)
            return done.stdout == f"200 {guests.PAGE_BYTES}"
        done = subprocess.run(["ip", "netns", "exec", self.load_space, "dig", f"@{self.ip}", f"h1.{guests.ZONE}", "A",
                               "+short", "+tries=1", "+time=2"], text=True, check=False, stdout=subprocess.PIPE)
        return done.stdout.strip() == "198.18.0.2"

    def said(self):
        self.out.seek(0)
        return self.out.read().decode(errors="replace")

    def stop(self):
        if self.process is not None:
            stop(self.process)
        self.process = None


class Guest(Contender):
    """A Linux guest."""

    is_guest = True

    def __init__(self, space, folder, server, machine):
        super().__init__(f"{server} in Linux, {machine}", guests.SERVICE[server])
        self.load_space = self.server_space = space
        self.machine = machine
        self.kernel, self.initrd = guests.build(folder, server, machine)
        self.image_bytes = os.path.getsize(self.kernel) + os.path.getsize(self.initrd)

    def command(self, memory_mb):
        return qemu(self.machine, memory_mb, self.kernel, guests.command_line(self.machine), self.initrd)


class Appliance(Contender):
    """One of ours as a virtual machine."""

    is_guest = True

    def __init__(self, space, image, service, machine, words):
        super().__init__(f"Mirari VM, {machine}", service)
        self.load_space = self.server_space = space
        self.machine, self.image, self.words = machine, image, words
        self.image_bytes = os.path.getsize(image)

    def command(self, memory_mb):
        return qemu(self.machine, memory_mb, self.image, f"--ip {guests.GUEST_IP}/24 {self.words}".strip())


class Process(Contender):
    """One of ours as a process over a tap, or on a packet socket."""

    def __init__(self, space, binary, service, words):
        super().__init__("Mirari process, tap", service)
        self.load_space = self.server_space = space
        self.binary, self.words = binary, words
        self.image_bytes = os.path.getsize(binary)

    def command(self, memory_mb):
        return [self.binary, "--net", "tap:tap0", "--ip", f"{guests.GUEST_IP}/24", "--mac", MAC, "--host-ip",
                f"{guests.HOST_IP}/24", *self.words.split()]


def veth_namespaces():
    load, server = namespace("load"), namespace("server")
    run("ip", "link", "add", "l0", "netns", load, "type", "veth", "peer", "name", "s0", "netns", server)
    for space, device, address in ((load, "l0", guests.HOST_IP), (server, "s0", guests.GUEST_IP)):
        run("ip", "-n", space, "address", "add", f"{address}/24", "dev", device)
        run("ip", "-n", space, "link", "set", device, "up")
    return load, server


class Host(Contender):
    """A server as a process on the host's stack."""

    def __init__(self, load_space, server_space, folder, server):
        super().__init__(f"{server} on the host, veth", guests.SERVICE[server])
        self.load_space, self.server_space = load_space, server_space
        root = os.path.join(folder, "srv")
        guests.write_content(root)
        self.conf = os.path.join(folder, f"{server}.host.conf")
        with open(self.conf, "w", encoding="utf-8") as out:
            out.write(guests.server_conf(server, guests.GUEST_IP, root))
        program, words = guests.SERVERS[server]
        self.words = [program, *words.replace("/etc/server.conf", self.conf).split()]

    def command(self, memory_mb):
        return self.words


def first_answers(prober, contender, memory_mb, times, limit_s=30):
    """Milliseconds from start to first answer and of processor time, for each of a number of starts."""
    ask = contender.path if contender.service == "http" else f"h1.{guests.ZONE}"
    if contender.load_space.endswith("-tap"):
        queue_length(contender.load_space, 8)
    out = run(*on(contender.load_space, LOAD_CPU, prober, "--times", str(times), "--limit", str(limit_s),
                  contender.service, contender.ip, str(PORT[contender.service]), ask,
                  "ip", "netns", "exec", contender.server_space, "taskset", "-c", SERVER_CPU,
                  *contender.command(memory_mb)), seconds=times * limit_s + 30)
    return [tuple(float(word) for word in line.split()) for line in out.splitlines()
            if re.fullmatch(r"[\d.]+ [\d.]+", line)]


