/* SPDX-License-Identifier: ISC */
/* What passes, as it passes: tcpdump and trace.
 *
 *   mirari tcpdump NAME tcp port 80            on a terminal: lines, by tcpdump(8)
 *   mirari tcpdump NAME -w FILE                a capture (pcapng)
 *   mirari tcpdump NAME | wireshark -k -i -    the same to a pipe
 *
 * Filters are the usual ones. libpcap compiles them here, and the appliance runs the program, so
 * only what is wanted is copied and sent. libpcap is loaded when it is needed, so that the tool
 * does without it otherwise.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd/mirari/ctl.h"

#define SNAPLEN_ALL 65549

/* ---- libpcap --------------------------------------------------------------------------------- */

/* As pcap/bpf.h has them. */
struct bpf_insn {
    unsigned short code;
    unsigned char jt, jf;
    uint32_t k;
};
struct bpf_program {
    unsigned int count;
    struct bpf_insn *insns;
};

struct libpcap {
    void *(*open_dead)(int linktype, int snaplen);
    int (*compile)(void *pcap, struct bpf_program *program, const char *text, int optimize,
                   uint32_t netmask);
    char *(*geterr)(void *pcap);
};

static bool load_libpcap(struct libpcap *lib)
{
    void *handle = dlopen("libpcap.so.0.8", RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        handle = dlopen("libpcap.so.1", RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        return false;
    *(void **)&lib->open_dead = dlsym(handle, "pcap_open_dead");
    *(void **)&lib->compile = dlsym(handle, "pcap_compile");
    *(void **)&lib->geterr = dlsym(handle, "pcap_geterr");
    return lib->open_dead != NULL && lib->compile != NULL && lib->geterr != NULL;
}

/* The filter as the appliance takes it, added to @params. */
static bool add_filter(const struct list *words, struct str *params)
{
    struct libpcap lib;
    struct bpf_program program;
    struct str text = {0};
    for (size_t i = 0; i < words->count; i++)
        str_format(&text, "%s%s", i > 0 ? " " : "", words->item[i]);
    if (!load_libpcap(&lib)) {
        complain("tcpdump: filters need libpcap; install it (Debian: apt install libpcap0.8), or "
                 "capture everything and filter later");
        return false;
    }
    void *pcap = lib.open_dead(1, SNAPLEN_ALL); /* Ethernet */
    if (pcap == NULL || lib.compile(pcap, &program, text.data, 1, 0xffffffff) < 0) {
        complain("tcpdump: filter \"%s\": %s; see pcap-filter(7)", text.data,
                 pcap != NULL ? lib.geterr(pcap) : "no memory");
        return false;
    }
    str_text(params, ",\"filter\":\"");
    for (unsigned i = 0; i < program.count; i++)
        str_format(params, "%04x%02x%02x%08x", program.insns[i].code, program.insns[i].jt,
                   program.insns[i].jf, program.insns[i].k);
    str_text(params, "\"");
    str_free(&text);
    return true;
}

/* ---- where it goes --------------------------------------------------------------------------- */

struct sink {
    int fd;
    pid_t reader; /* tcpdump(8), or 0 */
    uint64_t frames, dropped;
    bool has_failed;
};

/* On a terminal the lines of tcpdump(8). */
static bool start_reader(struct sink *sink)
{
    int ends[2];
    char *program = find_program("tcpdump");
    if (program == NULL) {
        complain("tcpdump: to show frames on a terminal tcpdump(8) is needed; install it, or write "
                 "-w FILE");
        return false;
    }
    if (pipe2(ends, O_CLOEXEC) != 0 || (sink->reader = fork()) < 0) {
        complain("tcpdump: cannot start a process: %s; close other programs", strerror(errno));
        return false;
    }
    if (sink->reader == 0) {
        dup2(ends[0], STDIN_FILENO);
        signal(SIGINT, SIG_IGN); /* it ends with what it reads */
        execl(program, "tcpdump", "-n", "-l", "-r", "-", (char *)NULL);
        _exit(126);
    }
    close(ends[0]);
    sink->fd = ends[1];
    return true;
}

static bool open_sink(struct sink *sink, const char *file)
{
    *sink = (struct sink){.fd = STDOUT_FILENO};
    signal(SIGPIPE, SIG_IGN);
    if (file == NULL || strcmp(file, "-") == 0)
        return file != NULL || !isatty(STDOUT_FILENO) || start_reader(sink);
    sink->fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (sink->fd < 0)
        complain("tcpdump: cannot write \"%s\": %s; choose another file", file, strerror(errno));
    return sink->fd >= 0;
}

static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    return c >= '0' && c <= '9' ? c - '0' + 52 : c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Base64 in place. Returns the bytes; what is no base64 ends it. */
static size_t decode(char *text, size_t len)
{
    size_t out = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < len && digit_of(text[i]) >= 0; i++) {
        bits = bits << 6 | (uint32_t)digit_of(text[i]);
        if (i % 4 != 0)
            text[out++] = (char)(bits >> (6 - 2 * (i % 4)));
    }
    return out;
}

static bool take_piece(struct ctl *ctl, uint32_t item, void *arg)
{
    struct sink *sink = arg;
    uint32_t node = mir_json_find(&ctl->json, item, "data");
    sink->frames = ctl_number(ctl, item, "frames");
    sink->dropped = ctl_number(ctl, item, "dropped");
    if (!mir_json_is(&ctl->json, node, MIR_JSON_STRING))
        return true;
    char *data = ctl->frame + ctl->json.nodes[node].at;
    size_t len = decode(data, ctl->json.nodes[node].len);
    while (len > 0) {
        ssize_t put = write(sink->fd, data, len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0) {
            sink->has_failed = errno != EPIPE;
            if (sink->has_failed)
                complain("tcpdump: cannot write: %s; make room", strerror(errno));
            return false;
        }
        data += put;
        len -= (size_t)put;
    }
    return true;
}

static int close_sink(struct sink *sink)
{
    int r = sink->fd != STDOUT_FILENO && close(sink->fd) != 0 ? EXIT_FAIL : 0;
    if (sink->reader > 0)
        while (waitpid(sink->reader, NULL, 0) < 0 && errno == EINTR)
            continue;
    fprintf(stderr, "%llu frames captured, %llu dropped\n", (unsigned long long)sink->frames,
            (unsigned long long)sink->dropped);
    return sink->has_failed ? EXIT_FAIL : r;
}

static bool add_number(struct str *params, const char *option, const char *name, const char *text)
{
    struct why why;
    int64_t value;
    if (text == NULL)
        return true;
    if (!valid_int(text, &value, &why) || value < 0 || value > UINT32_MAX) {
        complain("tcpdump: %s takes a number from 0 on, not \"%s\"", option, text);
        return false;
    }
    str_format(params, ",\"%s\":%lld", name, (long long)value);
    return true;
}

int cmd_tcpdump(int argc, char **argv)
{
    static const char *const names[] = {"w=write", "s=snaplen", "c=count", "i=net", NULL};
    struct ctl_args args;
    struct ctl ctl;
    struct sink sink;
    struct str params = {0};
    int r = ctl_arguments(&args, argc, argv, "w:s:c:i:", names, true);
    if (r != 0)
        return r;
    str_text(&params, "{");
    if (!add_number(&params, "-s", "snaplen", args.value['s']) ||
        !add_number(&params, "-c", "count", args.value['c']))
        return EXIT_USAGE;
    if (args.value['i'] != NULL) {
        str_text(&params, ",\"net\":");
        str_json(&params, args.value['i']);
    }
    if (args.rest.count > 0 && !add_filter(&args.rest, &params))
        return EXIT_FAIL;
    str_text(&params, "}");
    if (params.data[1] == ',')
        params.data[1] = ' ';
    r = ctl_open(&ctl, argv[0], args.who);
    if (r != 0)
        return r;
    if (!open_sink(&sink, args.value['w']))
        return EXIT_FAIL;
    ctl_catch_interrupt();
    r = ctl_call(&ctl, "tcpdump", params.data, take_piece, &sink);
    if (r == 0 && ctl.result != MIR_JSON_NONE) {
        sink.frames = ctl_number(&ctl, ctl.result, "frames");
        sink.dropped = ctl_number(&ctl, ctl.result, "dropped");
    }
    int ended = close_sink(&sink);
    ctl_close(&ctl);
    str_free(&params);
    return r != 0 ? r : ended;
}

/* ---- trace ----------------------------------------------------------------------------------- */

static bool show_line(struct ctl *ctl, uint32_t item, void *arg)
{
    uint64_t wall_us = ctl_number(ctl, item, "wall_us");
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    char when[32] = "";
    (void)arg;
    if (gmtime_r(&seconds, &tm) != NULL)
        strftime(when, sizeof(when), "%H:%M:%S", &tm);
    if (ctl_has(ctl, item, "dropped"))
        printf("(%llu lines lost)\n", (unsigned long long)ctl_number(ctl, item, "dropped"));
    printf("%s.%06u %-5s %s: %s\n", when, (unsigned)(wall_us % 1000000),
           ctl_text(ctl, item, "level"), ctl_text(ctl, item, "module"),
           ctl_text(ctl, item, "text"));
    fflush(stdout);
    return !ferror(stdout);
}

int cmd_trace(int argc, char **argv)
{
    struct ctl_args args;
    struct ctl ctl;
    struct str params = {0};
    int r = ctl_arguments(&args, argc, argv, "", NULL, true);
    if (r == 0 && args.rest.count > 1)
        r = usage_error("trace", args.rest.item[1], NULL, 0);
    if (r == 0)
        r = ctl_open(&ctl, argv[0], args.who);
    if (r != 0)
        return r;
    str_text(&params, "{\"levels\":");
    str_json(&params, args.rest.count == 1 ? args.rest.item[0] : "debug");
    str_text(&params, "}");
    signal(SIGPIPE, SIG_IGN);
    ctl_catch_interrupt();
    r = ctl_call(&ctl, "trace", params.data, show_line, NULL);
    str_free(&params);
    ctl_close(&ctl);
    return r;
}
