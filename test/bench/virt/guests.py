# SPDX-License-Identifier: ISC
"""Minimal Linux guests, the peers of `make bench-virt`: Debian's cloud kernel and one server each, no distribution.

A guest is two files: the kernel of linux-image-cloud-amd64, taken out of its package without installing it, and an
initramfs of busybox, the modules of virtio-net, one server (lighttpd, nginx, named, nsd) as Debian built it with the
libraries it is linked with, its configuration, and the content: a page of 600 bytes, a zone of 1,000 names. `/init`
loads the modules, sets the address and becomes the server. No udev, no logging, no second service, one process where
the server allows it. Building needs no root: the archive is written here, device nodes are entries in it.

What is done so that Linux does well under emulation, each measured: see docs/performance.md.
"""
import os
import shutil
import stat
import subprocess

PAGE_BYTES = 600
ZONE, NAMES = "example.test", 1000
GUEST_IP, HOST_IP = "10.77.0.2", "10.77.0.1"

# In the order of need. The last word of a line: which machine types load it.
MODULES = (
    ("drivers/virtio/virtio_ring.ko", ("q35", "microvm")),
    ("drivers/virtio/virtio.ko", ("q35", "microvm")),
    ("drivers/virtio/virtio_mmio.ko", ("microvm",)),
    ("drivers/virtio/virtio_pci_legacy_dev.ko", ("q35",)),
    ("drivers/virtio/virtio_pci_modern_dev.ko", ("q35",)),
    ("drivers/virtio/virtio_pci.ko", ("q35",)),
    ("net/core/failover.ko", ("q35", "microvm")),
    ("drivers/net/net_failover.ko", ("q35", "microvm")),
    ("drivers/net/virtio_net.ko", ("q35", "microvm")),
)

SERVERS = {
    "lighttpd": ("/usr/sbin/lighttpd", "-D -f /etc/server.conf"),
    "nginx": ("/usr/sbin/nginx", "-c /etc/server.conf"),
    "bind": ("/usr/sbin/named", "-f -4 -n 1 -c /etc/server.conf"),
    "nsd": ("/usr/sbin/nsd", "-d -4 -c /etc/server.conf"),
}
# What packs the initramfs: the one with which the guest answers first. zstd makes it smaller, lz4 unpacks faster.
PACKER = {"lighttpd": "zstd", "nginx": "zstd", "nsd": "zstd", "bind": "lz4"}
PACK = {"zstd": ("zstd", "-19", "-q", "-f", "-o"), "lz4": ("lz4", "-l", "-9", "-q", "-f")}
SERVICE = {"lighttpd": "http", "nginx": "http", "bind": "dns", "nsd": "dns"}


def page():
    """The page everybody serves."""
    return b"<!doctype html><title>600</title>".ljust(PAGE_BYTES - 1, b"x") + b"\n"


def zone():
    """The zone everybody serves, as a master file."""
    lines = [f"$ORIGIN {ZONE}.", "$TTL 3600", "@ IN SOA ns1 hostmaster 1 7200 3600 1209600 3600", "@ IN NS ns1",
             "ns1 IN A 192.0.2.1"]
    lines += [f"h{i} IN A 198.18.{i // 250}.{i % 250 + 1}" for i in range(1, NAMES + 1)]
    return "\n".join(lines) + "\n"


def queries():
    """What dnsperf asks, each name once."""
    return "".join(f"h{i}.{ZONE} A\n" for i in range(1, NAMES + 1))


def server_conf(name, ip, root):
    """The configuration of a server: one process, nothing written to a log. root: where page and zone are."""
    return {
        "lighttpd": f"""server.document-root = "{root}"
server.bind = "{ip}"
server.port = 80
server.max-keep-alive-requests = 1000000000
server.max-keep-alive-idle = 3600
server.max-connections = 1024
server.max-fds = 4096
mimetype.assign = ( ".html" => "text/html" )
""",
        "nginx": f"""user root;
daemon off;
master_process off;
error_log /dev/null crit;
pid {root}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    open_file_cache max=16 inactive=3600s;
    open_file_cache_valid 3600s;
    types {{ text/html html; }}
    server {{
        listen {ip}:80;
        root {root};
    }}
}}
""",
        "bind": f"""options {{
    directory "{root}";
    listen-on {{ {ip}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    minimal-responses yes;
    notify no;
    dnssec-validation no;
    pid-file none;
    session-keyfile none;
    querylog no;
}};
controls {{ }};
logging {{ category default {{ null; }}; }};
zone "{ZONE}" {{ type primary; file "{root}/zone"; }};
""",
        "nsd": f"""server:
    ip-address: {ip}
    server-count: 1
    database: ""
    username: ""
    zonesdir: "{root}"
    pidfile: ""
    xfrdfile: ""
    zonelistfile: "{root}/zone.list"
    xfrdir: "{root}"
    rrl-ratelimit: 0
    minimal-responses: yes
    round-robin: no
remote-control:
    control-enable: no
zone:
    name: {ZONE}
    zonefile: "zone"
""",
    }[name]


def write_content(root):
    """Page, zone and (for dnsperf) queries as files below root."""
    os.makedirs(root, exist_ok=True)
    for name, data in (("600.html", page()), ("zone", zone().encode()), ("queries", queries().encode())):
        with open(os.path.join(root, name), "wb") as out:
            out.write(data)


class Archive:
    """A cpio archive, format "newc", in memory."""

    def __init__(self):
        self.parts, self.inode, self.seen = [], 0, set()

    def add(self, path, mode, data=b"", device=(0, 0)):
        path = path.lstrip("/")
        parent = os.path.dirname(path)
        if parent and parent not in self.seen:
            self.add(parent, stat.S_IFDIR | 0o755)
        if path in self.seen:
            return
        self.seen.add(path)
        self.inode += 1
        name = path.encode() + b"\0"
        # A date, since NSD takes a zone of 1970 for older than the one it does not have.
        fields = (self.inode, mode, 0, 0, 1, 1_600_000_000, len(data), 0, 0, *device, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        self.parts.append(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))

    def text(self, path, text, mode=0o644):
        self.add(path, stat.S_IFREG | mode, text.encode())

    def file(self, path, source=None, mode=0o755):
        with open(source or path, "rb") as data:
            self.add(path, stat.S_IFREG | mode, data.read())

    def program(self, path):
        """A program and every library that the loader would map for it."""
        self.file(path)
        listing = subprocess.run(["ldd", path], stdout=subprocess.PIPE, text=True, check=True).stdout
        for word in listing.split():
            if word.startswith("/"):
                self.file(word)

    def bytes(self):
        self.add("TRAILER!!!", 0)
        return b"".join(self.parts)


def fetch_kernel(folder):
    """Debian's newest cloud kernel: (bzImage, folder of its modules). The package is fetched once."""
    unpacked = os.path.join(folder, "kernel")
    if not os.path.isdir(unpacked):
        listing = subprocess.run(["apt-cache", "depends", "linux-image-cloud-amd64"], stdout=subprocess.PIPE, text=True,
                                 check=True).stdout
        package = next(word for word in listing.split() if word.startswith("linux-image-6"))
        fetched = os.path.join(folder, "deb")
        shutil.rmtree(fetched, ignore_errors=True)
        os.makedirs(fetched)
        # As a user that apt knows the folder of; it warns when it cannot drop to its own.
        subprocess.run(["apt-get", "download", "-q", package], cwd=fetched, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        deb = os.path.join(fetched, os.listdir(fetched)[0])
        subprocess.run(["dpkg-deb", "-x", deb, unpacked + ".new"], check=True)
        os.rename(unpacked + ".new", unpacked)
    boot = os.path.join(unpacked, "boot")
    image = next(name for name in os.listdir(boot) if name.startswith("vmlinuz"))
    modules = os.path.join(unpacked, "lib/modules", image.removeprefix("vmlinuz-"), "kernel")
    return os.path.join(boot, image), modules


def init_script(name, machine):
    program, words = SERVERS[name]
    loads = "".join(f"/bin/busybox insmod /{os.path.basename(path)}\n" for path, types in MODULES if machine in types)
    return f"""#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
{loads}/bin/busybox ifconfig lo 127.0.0.1 up
/bin/busybox ifconfig eth0 {GUEST_IP} netmask 255.255.255.0 up
exec {program} {words}
"""


def command_line(machine):
    """What the kernel is told. TCG's counter is the host's, and microvm gives Linux no timer to measure it by."""
    with open("/proc/cpuinfo", encoding="ascii") as info:
        mhz = next((line.split()[-1] for line in info if line.startswith("cpu MHz")), "2000")
    words = ["console=ttyS0", "quiet", "panic=-1", "nokaslr", "cryptomgr.notests", "mitigations=off"]
    return " ".join(words + ([f"tsc_early_khz={round(float(mhz) * 1000)}"] if machine == "microvm" else []))


def build(folder, name, machine):
    """(kernel, initramfs) of the guest with this server for this machine type, made when it is not there."""
    kernel, modules = fetch_kernel(folder)
    archive = Archive()
    archive.add("/dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    archive.add("/dev/null", stat.S_IFCHR | 0o666, device=(1, 3))
    archive.add("/tmp", stat.S_IFDIR | 0o777)
    archive.add("/var/tmp", stat.S_IFDIR | 0o777)
    archive.add("/run", stat.S_IFDIR | 0o755)
    archive.add("/var/log/nginx", stat.S_IFDIR | 0o755)
    archive.add("/var/lib/nginx", stat.S_IFDIR | 0o755)
    archive.program("/bin/busybox")
    archive.program(SERVERS[name][0])
    for path, types in MODULES:
        if machine in types:
            archive.file("/" + os.path.basename(path), os.path.join(modules, path), 0o644)
    archive.text("/etc/passwd", "root:x:0:0::/:/bin/sh\n")
    archive.text("/etc/group", "root:x:0:\n")
    archive.text("/etc/server.conf", server_conf(name, GUEST_IP, "/srv"))
    if SERVICE[name] == "http":
        archive.text("/srv/600.html", page().decode())
    else:
        archive.text("/srv/zone", zone())
    archive.text("/init", init_script(name, machine), 0o755)
    return kernel, pack(os.path.join(folder, f"{name}.{machine}.cpio"), archive.bytes(), PACKER[name])


def pack(path, data, packer):
    """Writes and packs an archive; what is there already with the same content stays."""
    packed = f"{path}.{packer}"
    if os.path.exists(packed) and os.path.exists(path):
        with open(path, "rb") as old:
            if old.read() == data:
                return packed
    with open(path, "wb") as out:
        out.write(data)
    words = [packed + ".new", path] if packer == "zstd" else [path, packed + ".new"]
    subprocess.run([*PACK[packer], *words], check=True)
    os.rename(packed + ".new", packed)
    return packed
