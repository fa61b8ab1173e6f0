/* SPDX-License-Identifier: ISC */
/* `mirari`: makes, builds, runs and looks after appliances. Here: the list of subcommands and their
 * help; each is a function in a file of its own.
 *
 * Exit status: 0; 1 something failed; 64 wrong usage; 65 wrong manifest; `run` passes on the
 * appliance's own. Messages go to standard error, results to standard output.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mirari/platform.h>

#include "cmd/mirari/socket.h"
#include "cmd/mirari/ctl.h"
#include "cmd/mirari/dash.h"
#include "cmd/mirari/test.h"
#include "cmd/mirari/tool.h"

#ifndef MIR_VERSION
#define MIR_VERSION "0"
#endif

#define HELP_FOLDER "  -C, --folder DIR    the appliance's folder (here)\n"
#define HELP_FILE   "  -f, --file FILE     the manifest (the only *.conf in the folder)\n"
#define HELP_TARGET "  -t, --target NAME   unix (default), sim or virt\n"
#define HELP_ARCH                                                                                  \
    "      --arch NAME     of images (-t virt): x86_64 or aarch64 (that of this machine)\n"
#define HELP_OUT   "  -o, --out DIR       where results go (DIR/_build)\n"
#define HELP_QUIET "  -q, --quiet         only errors\n"

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *usage, *does, *options;
};

static const struct command commands[] = {
    {"new", cmd_new, "hello|echo|website|tester NAME [FOLDER]",
     "make the folder of a new appliance that builds and runs at once",
     "  FOLDER              where (./NAME); must not exist, or be empty\n"},
    {"configure", cmd_configure, "[-C DIR] [-f FILE] [-t TARGET] [-o DIR]",
     "check the manifest and write what is made from it",
     HELP_FOLDER HELP_FILE HELP_TARGET HELP_ARCH HELP_OUT HELP_QUIET},
    {"build", cmd_build, "[-C DIR] [-f FILE] [-t TARGET] [-o DIR] [-j N]",
     "configure, compile and link what changed",
     HELP_FOLDER HELP_FILE HELP_TARGET HELP_ARCH HELP_OUT HELP_QUIET
     "  -j, --jobs N        compilers at once (one per processor)\n"
     "  -v, --verbose       show the commands\n"
     "      --asan          with AddressSanitizer (in the source tree only)\n"},
    {"run", cmd_run, "[-C DIR] [-t TARGET] [-d] [OPTION ...] [OPTION OF THE APPLIANCE ...]",
     "build if needed and run",
     HELP_FOLDER HELP_FILE HELP_TARGET HELP_ARCH HELP_OUT HELP_QUIET
     "  -d, --detach        in the background; see ps, logs, stop\n"
     "      --no-build      run what is there\n"
     "      --dry-run       print the command, run nothing (--print too)\n"
     "Options of a virtual machine (-t virt):\n"
     "      --accel auto|kvm|tcg  KVM if it works (auto), or emulation\n"
     "      --machine microvm|q35|pc (virt for aarch64)\n"
     "      --cpu MODEL     of QEMU: max, host, ...\n"
     "      --disk FILE[,ro]  a disk, raw or qcow2; can be given several times\n"
     "      --channel [NAME=]REGION  where channels of the manifest are made (own name); any "
     "target\n"
     "      --gdb[=PORT]    wait for a debugger\n"
     "      --qemu WORD     a word for QEMU's command line; can be given several times\n"
     "Options of every appliance (NAME= chooses a network, else the first):\n"
     "      --net [NAME=]user|tap[:IF]|packet:IF|socket  how it is connected; with -t virt\n"
     "            user|tap[:IF]|passt|vhost-user:PATH|socket:WHAT\n"
     "      --ip [NAME=]ADDR/LEN|dhcp             its addresses, IPv4 and IPv6\n"
     "      --gateway [NAME=]ADDR                 its router\n"
     "      --route [NAME=]PREFIX/LEN=ADDR        another router\n"
     "      --ip6 [NAME=]off|link-local|static|auto|temporary  IPv6\n"
     "      --acd [NAME=]quick|full|off           is an IPv4 address free?\n"
     "      --link-local4 [NAME=]on|off           169.254/16 where no DHCP server answers\n"
     "      --mac [NAME=]MAC, --mtu [NAME=]N      hardware address, largest packet\n"
     "      --vlan [NAME=]N                       tag its frames with this VLAN\n"
     "  -p, --forward [NAME=][HOST:]PORT:PORT[/udp]  port of this machine to port of the "
     "appliance\n"
     "      --host-ip [NAME=]ADDR/LEN             our side of a tap\n"
     "      --pcap [NAME=]FILE                    write a capture\n"
     "      --fault [NAME=]SPEC, --trace [NAME]   disturb, print frames\n"
     "      --log LEVEL[,MODULE=LEVEL]            error warn info debug trace\n"
     "      --dns ADDR[,ADDR]                     name servers, instead of the network's\n"
     "      --kv NAME=PLACE                       a folder, archive (tar) or disk as that store\n"
     "      --workers N                           processes, kept by a monitor (unix)\n"
     "      --memory MIB, --spin US, --no-sandbox\n"
     "      --lease TIME, --grace TIME            its life, and what its end may take (30s)\n"
     "      --control PATH|off, --control-ro PATH  its control channel; see ctl\n"
     "      --PARAMETER VALUE                     declared under args in the manifest\n"
     "  --                  what follows goes to the appliance as it is (-- --help)\n"},
    {"describe", cmd_describe, "[-C DIR] [-f FILE] [--json]", "tell what an appliance is",
     HELP_FOLDER HELP_FILE HELP_OUT "      --json          for programs\n"},
    {"clean", cmd_clean, "[-C DIR] [-t TARGET] [-o DIR]", "remove what was built",
     HELP_FOLDER "  -t, --target NAME   of this target only\n" HELP_OUT HELP_QUIET},
    {"ps", cmd_ps, "[-q]", "list your running appliances",
     "  -q, --quiet         process ids only\n"},
    {"stop", cmd_stop, "NAME|PID|--all [-t SECONDS]", "end a running appliance",
     "  -t, --time SECONDS  kill it if it takes longer (10)\n"
     "  -a, --all           all of yours\n"},
    {"logs", cmd_logs, "NAME|PID [-f] [-n LINES]", "show what an appliance printed",
     "  -f, --follow        and what it will print, until it ends\n"
     "  -n, --lines LINES   the last lines only\n"},
    {"console", cmd_console, "NAME|PID", "attach to the console of a running appliance",
     "On a terminal Ctrl-] detaches.\n"},
    {"socket", cmd_socket, "run|serve|netstat|stats|stop [OPTION ...]",
     "our sockets for programs of this machine",
     "  run [OPTION ...] [--] PROGRAM [ARGUMENT ...]\n"
     "                      run a program, and all it starts, with sockets of our stack\n"
     "      --on NAME       of a server that runs; else one is started, with these options\n"
     "      --via notify|preload  how the program is followed (notify)\n"
     "      --rule RULES    which sockets are ours: 'tcp dst 10.0.0.0/8 ours; default host'\n"
     "      -v, --verbose   show what the server prints\n"
     "      OPTION OF AN APPLIANCE  --net, --ip, --pcap, ... of that server\n"
     "  serve [--name NAME] [-d] [--allow-uid N] [OPTION OF AN APPLIANCE ...]\n"
     "                      start a server that several programs share\n"
     "  netstat [NAME]      list its sockets\n"
     "  stats [NAME]        show its counters\n"
     "  stop [NAME]         end it\n"},
    {"attach", cmd_attach, "NAME|PID [net [NET=]TAP [WORD ...]]",
     "give a running appliance another network, or list its workers and networks",
     "  net [NET=]TAP       a tap of this machine, or a new one; NET is its name (TAP)\n"
     "  ip=ADDR/LEN         an address, IPv4 or IPv6; without: DHCP\n"
     "  gateway=ADDR, route=PREFIX/LEN=ADDR, ip6=MODE, host-ip=ADDR/LEN  as for run\n"
     "For appliances that run with --workers.\n"},
    {"detach", cmd_detach, "NAME|PID net NET", "take a network from a running appliance",
     "For appliances that run with --workers.\n"},
    {"upgrade", cmd_upgrade, "NAME|PID",
     "let a running appliance go on with its program as it is on the disk now",
     "For appliances that run with --workers.\n"},
    {"image", cmd_image,
     "[-C DIR] [--format raw|qcow2] [-o FILE] [--data SIZE] [OPTION OF THE APPLIANCE ...]",
     "make a disk that boots the appliance under BIOS and UEFI",
     HELP_FOLDER HELP_FILE "  -t, --target virt   nothing else has disk images\n"
                           "      --arch x86_64   and no other architecture\n" HELP_QUIET
                           "  -j, --jobs N, -v, --verbose  as for build\n"
                           "  -o, --output FILE   the disk (NAME.img, NAME.qcow2)\n"
                           "      --format raw|qcow2\n"
                           "      --data SIZE     of the partition for data in MiB, or 0 (4)\n"
                           "      --force         write over FILE\n"
                           "Options of the appliance, as for run, become its command line.\n"},
    {"size", cmd_size, "[-C DIR] [-t TARGET] [--by LEVEL] [-n ROWS] [FOLDER|FILE]",
     "say where the bytes of an image go",
     HELP_FOLDER HELP_FILE HELP_TARGET HELP_OUT
     "      --by LEVEL      library, module (default), file, section or symbol\n"
     "  -n, --rows ROWS     the largest only\n"
     "  FOLDER|FILE         an appliance, or any ELF file of 64 bits\n"},
    {"vchan", cmd_vchan,
     "listen|connect|cat NAME [OPTION ...] [-- COMMAND ...] | proxy FROM TO | ivshmem NAME | ls | "
     "stat NAME | bench [NAME]",
     "channels of shared memory between processes, and to virtual machines",
     "  listen NAME         serve clients: standard input and output one after the other, or\n"
     "                      COMMAND for each\n"
     "  connect NAME        be a client\n"
     "  cat NAME            the same; with -l a server, of one client\n"
     "  proxy FROM TO       clients of FROM are brought to TO: one is vchan:NAME, the other one\n"
     "                      tcp:[HOST:]PORT or unix:PATH\n"
     "  ivshmem NAME        a region, where virtual machines come, too (`mirari run` starts it)\n"
     "  ls, stat NAME       channels, their ends, how full they are\n"
     "  bench [NAME]        compare with Unix sockets and pipes; or ask the echo at NAME\n"
     "  -l, --listen        (cat) be the server\n"
     "      --once          (listen) end with the first client\n"
     "  -w, --wait SECONDS  wait for a server\n"
     "  -q, --linger SECONDS  at the end of the input wait so long for answers (0; proxy: 10)\n"
     "  -k, --keep          the end of the input closes nothing\n"
     "      --allow-uid UID, --allow-any  who else may connect\n"
     "      --region        (listen) in a region; start it if it is not there\n"
     "      --size BYTES, --slots N, --vectors N  (ivshmem) memory (4M), channels at once (7), "
     "bells\n"
     "                      of each machine (1)\n"
     "      --until-empty   (ivshmem) end when nobody was there for 10 seconds\n"
     "      --json          (ls, stat) for programs\n"
     "  -n, --rounds N      (bench) of each measurement (7)\n"},
    {"top", cmd_top, "[NAME|PID] [-d SECONDS] [-n TIMES]", "watch running appliances",
     "  -d, --delay SECONDS between two looks (1)\n"
     "  -n, --count TIMES   looks, then end (0: until Ctrl-C)\n"},
    {"crash", cmd_crash, "NAME [-n EVENTS]", "show what is known of an appliance that has crashed",
     "  -n, --events COUNT  the last events only (20)\n"
     "Exit status: 0 there was a crash, 1 there was none.\n"},
    {"dash", cmd_dash, "[-p PORT] [-r]", "show running appliances in a browser, with graphs",
     "  -p, --port PORT     of 127.0.0.1 (any that is free)\n"
     "  -r, --read-only     without buttons that change anything\n"
     "The address that it prints is the key to it; Ctrl-C ends it.\n"},
    {"netstat", cmd_netstat, "NAME|PID [-l] [-t] [-u] [-i]",
     "list an appliance's listeners, connections and UDP sockets",
     "  -l, --listening     without connections\n"
     "  -t, --tcp, -u, --udp  of this protocol only\n"
     "  -i, --info          and what TCP knows of each connection\n"},
    {"addr", cmd_addr, "NAME|PID", "show an appliance's interfaces and addresses", ""},
    {"route", cmd_route, "NAME|PID", "show an appliance's routes", ""},
    {"arp", cmd_arp, "NAME|PID", "show an appliance's neighbours, IPv4 and IPv6", ""},
    {"tcpdump", cmd_tcpdump, "NAME|PID [-w FILE] [-c COUNT] [-s SNAPLEN] [-i NET] [FILTER ...]",
     "capture what passes an appliance's networks",
     "  -w, --write FILE    a capture (pcapng); - is standard output\n"
     "  -c, --count COUNT   frames, then end\n"
     "  -s, --snaplen N     bytes of a frame at most\n"
     "  -i, --net NET       this network only\n"
     "  FILTER              as for tcpdump(8); needs libpcap\n"
     "Without -w lines on a terminal, else a capture: | wireshark -k -i -\n"},
    {"stats", cmd_stats, "NAME|PID [-a] [-p]", "show an appliance's counters",
     "  -a, --all           those that are 0, too\n"
     "  -p, --prometheus    in the text format of Prometheus\n"},
    {"pages", cmd_pages, "NAME|PID", "show who holds an appliance's memory", ""},
    {"log", cmd_log, "NAME|PID [LEVEL[,MODULE=LEVEL]...]",
     "show or set the levels of an appliance's log", ""},
    {"trace", cmd_trace, "NAME|PID [LEVEL[,MODULE=LEVEL]...]",
     "show an appliance's log as it comes, with other levels (debug) meanwhile", ""},
    {"shutdown", cmd_shutdown, "NAME|PID [-n]", "ask an appliance to end, over its control channel",
     "  -n, --no-wait       do not wait until it has\n"},
    {"ctl", cmd_ctl, "NAME|PID [METHOD [KEY=VALUE ...]]",
     "call any method of an appliance's control channel; without METHOD list them",
     "  NAME|PID            or, for all of these commands, the path of its control socket\n"
     "      --worker K      of an appliance with --workers, for all of these commands, too\n"},
    {"test", cmd_test, "[-t TARGET] [-j N] [-k] [FILE|FOLDER ...]",
     "run tests that start appliances and drive them",
     "  -t, --target NAME   on unix or virt only, instead of all that a file names\n"
     "  -j, --jobs N        so many files and targets at a time (1)\n"
     "  -l, --list          list the tests, run nothing\n"
     "  -k, --keep          keep logs of good runs too\n"
     "      --slower N      N times all time limits\n"
     "      --junit FILE    write the results for programs that read JUnit's\n"
     "  -o, --out DIR       results of building go to DIR/NAME of each folder\n"
     "      --no-build      run what is there\n"
     "      --accel auto|kvm|tcg  of machines, as for run\n"
     "  -C, --folder DIR    look for tests there\n"
     "  FILE|FOLDER         *.test; else those here and in test/\n"},
    {"doctor", cmd_doctor, "", "check this machine, and say how to mend it", ""},
};

static void show_overview(void)
{
    printf("mirari: builds and runs appliances, programs that contain their operating system.\n\n"
           "usage: mirari COMMAND [OPTION ...]\n\n");
    for (size_t i = 0; i < LEN(commands); i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].does);
    printf("  %-10s %s\n  %-10s %s\n\n", "help", "this list, or help about a command", "--version",
           "version of this program");
    printf("Begin with: mirari new hello myapp && mirari run -C myapp\n");
}

static void show_help(const struct command *command)
{
    printf("usage: mirari %s %s\n\n%s.\n%s%s", command->name, command->usage, command->does,
           command->options[0] != '\0' ? "\n" : "", command->options);
    printf("\nSee the manual page mirari-%s(1)%s.\n", command->name,
           strcmp(command->name, "new") == 0 || strcmp(command->name, "configure") == 0
               ? " and app.conf(5)"
               : "");
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < LEN(commands); i++)
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *names[LEN(commands) + 1];
    for (size_t i = 0; i < LEN(commands); i++)
        names[i] = commands[i].name;
    names[LEN(commands)] = "help";
    complain("unknown command \"%s\"%s%s", name, did_you_mean(name, names, LEN(names)),
             nearest(name, names, LEN(names)) != NULL ? "" : "; `mirari help` lists them");
    return EXIT_USAGE;
}

/* --help anywhere before "--", where it is no value of an option. */
static bool asks_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static int flushed(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    complain("cannot write the output; make room, or look where it goes");
    return status != 0 ? status : EXIT_FAIL;
}

/* Closed standard descriptors would be taken by the next files opened, and written to. */
static void open_standard_files(void)
{
    for (;;) {
        int fd = open("/dev/null", O_RDWR);
        if (fd > STDERR_FILENO)
            close(fd);
        if (fd < 0 || fd > STDERR_FILENO)
            return;
    }
}

/* What the libraries call when a program has made a mistake. */
void mir_platform_abort(const char *text)
{
    fprintf(stderr, "%s\n", text);
    abort();
}

int main(int argc, char **argv)
{
    open_standard_files();
    if (argc < 2) {
        complain("no command; `mirari help` lists them");
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0) {
        puts("mirari " MIR_VERSION);
        return flushed(0);
    }
    bool is_help = strcmp(name, "help") == 0;
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || (is_help && argc < 3)) {
        show_overview();
        return flushed(0);
    }
    const struct command *command = find_command(is_help ? argv[2] : name);
    if (command == NULL)
        return unknown_command(is_help ? argv[2] : name);
    if (is_help || asks_help(argc - 1, argv + 1)) {
        show_help(command);
        return flushed(0);
    }
    return flushed(command->run(argc - 1, argv + 1));
}
