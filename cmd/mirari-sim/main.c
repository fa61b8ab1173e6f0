/* SPDX-License-Identifier: ISC */
/* The simulator as a program of its own: networks without an appliance.
 *
 *   mirari-sim run FILE        run a network, say how its flows fared
 *   mirari-sim plan FILE       its addresses
 *   mirari-sim seeds           draw networks, run them, shrink one that fails
 *   mirari-sim check PCAP      apply the rules of TCP to a capture
 *
 * Exit status: 0 all went well, 1 something did not, 64 a wrong command line or network.
 */
#include <stdlib.h>
#include <string.h>

#include "cmd/mirari-sim/sim.h"
#include "lib/app/options.h"

static const char usage_text[] =
    "usage: mirari-sim run [options] FILE   run a network\n"
    "       mirari-sim plan FILE            its addresses\n"
    "       mirari-sim seeds [options]      draw networks, run them, shrink what fails\n"
    "       mirari-sim check FILE.pcapng    apply the rules of TCP to a capture\n"
    "\n"
    "run:\n"
    "  --seed N            of all chance in the run (1)\n"
    "  --pcap LINK=FILE    capture a link; may be given again\n"
    "  --trace-tcp FILE    windows of all connections, for tools/plot-tcp\n"
    "  --limit TIME        virtual seconds at most\n"
    "  --quiet             the last line only\n"
    "  --unwatched         do not check the rules of TCP\n"
    "  --plant NAME        break the run on purpose, to try what finds it: ack, data, leak, crash\n"
    "seeds:\n"
    "  --seed N            the first one (1)\n"
    "  --count N           how many (100)\n"
    "  --jobs N            processes (2)\n"
    "  --out FILE          where a shrunk network is written (failing.topo)\n"
    "  --show              print the network of --seed and end\n"
    "  --plant NAME        as above\n";

int sim_refuse(const char *text)
{
    fflush(stdout);
    fprintf(stderr, "mirari-sim: %s\n", text);
    exit(64);
}

const char *sim_value(int argc, char **argv, int *at)
{
    char text[100];
    if (*at + 1 >= argc) {
        snprintf(text, sizeof text, "%.60s needs a value", argv[*at]);
        (void)sim_refuse(text);
    }
    return argv[++*at];
}

uint64_t sim_number(int argc, char **argv, int *at)
{
    const char *option = argv[*at];
    const char *value = sim_value(argc, argv, at);
    char *end, text[100];
    uint64_t number = strtoull(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0') {
        snprintf(text, sizeof text, "%.40s: \"%.30s\" is not a number", option, value);
        (void)sim_refuse(text);
    }
    return number;
}

int sim_refuse_option(const char *option, const char *const *names, size_t count)
{
    char text[160];
    const char *near = mir__app_nearest(option, strlen(option), names, count);
    snprintf(text, sizeof text, "unknown option %.60s%s%s%s", option,
             near != NULL ? "; did you mean " : "", near != NULL ? near : "",
             near != NULL ? "?" : "");
    return sim_refuse(text);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {
        {"run", sim_run}, {"plan", sim_plan}, {"seeds", sim_seeds}, {"check", sim_check}};
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)) {
        fputs(usage_text, stdout);
        return 0;
    }
    for (size_t i = 0; argc >= 2 && i < MIR_ARRAY_LEN(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    fputs(usage_text, stderr);
    return 64;
}
