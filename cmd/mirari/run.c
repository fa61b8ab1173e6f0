/* SPDX-License-Identifier: ISC */
/* `mirari run`: checks the options, builds if needed, and starts.
 *
 * Options are those of the tool, of the virtual machine (vm.c), and of the appliance. The last are
 * checked here against the manifest, by the rules of the manifest: an option about a network
 * replaces a field of it, and the networks are checked again as a whole. So nothing is built or
 * started with options that the appliance would refuse.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/mirari/vm.h"

/* ---- options of the appliance
 * ---------------------------------------------------------------------- */

static const char *const run_names[] = {"-C",        "-f",
                                        "-t",        "-o",
                                        "-q",        "-d",
                                        "-p",        "--folder",
                                        "--file",    "--target",
                                        "--out",     "--quiet",
                                        "--detach",  "--no-build",
                                        "--dry-run", "--asan",
                                        "--jobs",    "--net",
                                        "--ip",      "--gateway",
                                        "--mac",     "--route",
                                        "--ip6",     "--mtu",
                                        "--vlan",    "--forward",
                                        "--host-ip", "--pcap",
                                        "--fault",   "--trace",
                                        "--log",     "--memory",
                                        "--spin",    "--no-sandbox",
                                        "--help",    "--dns",
                                        "--acd",     "--link-local4",
                                        "--accel",   "--machine",
                                        "--cpu",     "--disk",
                                        "--gdb",     "--qemu",
                                        "--print",   "--lease-file",
                                        "--arch",    "--kv",
                                        "--workers", "--monitor",
                                        "--lease",   "--grace",
                                        "--control", "--control-ro"};

static int need_value(struct run *run, const char *name, int argc, char **argv, int *at)
{
    if (*at + 1 >= argc) {
        complain("run: option %s needs a value; write it after the option", name);
        return EXIT_USAGE;
    }
    list_add(&run->options, name);
    list_add(&run->options, argv[++*at]);
    return 0;
}

/* An option that is not ours: of every appliance, or a parameter of this one (known later). */
int run_take_option(struct run *run, int argc, char **argv, int *at)
{
    const char *arg = argv[*at];
    if (strncmp(arg, "-p", 2) == 0) {
        if (arg[2] == '\0')
            return need_value(run, "--forward", argc, argv, at);
        list_add(&run->options, "--forward");
        list_add(&run->options, arg + 2);
        return 0;
    }
    if (strncmp(arg, "--", 2) != 0)
        return usage_error("run", arg, run_names, LEN(run_names));
    const char *equal = strchr(arg, '=');
    if (equal != NULL) {
        char *name = need_text(arg, (size_t)(equal - arg));
        list_add(&run->options, name);
        list_add(&run->options, equal + 1);
        free(name);
        return 0;
    }
    bool is_trace = strcmp(arg, "--trace") == 0;
    if (strcmp(arg, "--no-sandbox") == 0 ||
        (is_trace && (*at + 1 >= argc || argv[*at + 1][0] == '-'))) {
        list_add(&run->options, arg);
        list_add(&run->options, "");
        return 0;
    }
    return need_value(run, arg, argc, argv, at);
}

static int parse_arguments(struct run *run, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "--") == 0) {
            while (++i < argc)
                list_add(&run->verbatim, argv[i]);
            break;
        }
        int r = common_option(&run->common, argc, argv, &i, "CftoqjvAR");
        if (r < 0)
            return EXIT_USAGE;
        if (r == 0)
            r = vm_option(&run->vm_options, argc, argv, &i);
        if (r < 0)
            return EXIT_USAGE;
        if (r > 0)
            continue;
        if (strcmp(arg, "--no-build") == 0)
            run->no_build = true;
        else if (strcmp(arg, "--dry-run") == 0 || strcmp(arg, "--print") == 0)
            run->dry_run = true;
        else if (strcmp(arg, "-d") == 0 || strcmp(arg, "--detach") == 0)
            run->detach = true;
        else if ((r = run_take_option(run, argc, argv, &i)) != 0)
            return r;
    }
    return 0;
}

/* The net that [NAME=]VALUE is about; *value goes behind the "=". NULL after a message. */
static struct manifest_net *net_of(struct run *run, const char *option, const char **value)
{
    struct manifest *m = &run->manifest;
    const char *equal = strchr(*value, '=');
    size_t len = equal != NULL ? (size_t)(equal - *value) : 0;
    if (m->net_count == 0) {
        complain("%s: \"%s\" has no network; add a section net { } to %s", option, m->name,
                 m->file);
        return NULL;
    }
    for (size_t i = 0; i < m->net_count && equal != NULL; i++) {
        if (strlen(m->net[i].name) == len && memcmp(m->net[i].name, *value, len) == 0) {
            *value = equal + 1;
            return &m->net[i];
        }
    }
    bool may_hold_equal = strcmp(option, "--pcap") == 0 || strcmp(option, "--fault") == 0 ||
                          strcmp(option, "--lease-file") == 0 ||
                          (strcmp(option, "--net") == 0 && strchr(*value, ':') != NULL);
    if (equal == NULL || may_hold_equal)
        return &m->net[0];
    struct str all = {0};
    for (size_t i = 0; i < m->net_count; i++)
        str_format(&all, " %s", m->net[i].name);
    complain("%s: no network \"%.*s\"; there is:%s", option, (int)len, *value, all.data);
    str_free(&all);
    return NULL;
}

/* A field of a network, replaced. The first value of a list replaces the manifest's. */
static bool set_net_field(struct run *run, const char *option, const char *value)
{
    struct manifest_net *net = net_of(run, option, &value);
    if (net == NULL)
        return false;
    const struct {
        const char *name;
        struct field *field;
    } fields[] = {{"--net", &net->mode},
                  {"--mac", &net->mac},
                  {"--mtu", &net->mtu},
                  {"--ip6", &net->ip6},
                  {"--vlan", &net->vlan},
                  {"--acd", &net->acd},
                  {"--link-local4", &net->link_local4},
                  {"--ip", &net->ip},
                  {"--gateway", &net->gateway},
                  {"--route", &net->route},
                  {"--forward", &net->forward}};
    for (size_t i = 0; i < LEN(fields); i++) {
        struct field *field = fields[i].field;
        if (strcmp(option, fields[i].name) != 0)
            continue;
        bool is_list = i >= 7;
        bool adds = is_list && field->text != NULL && field->line == 0;
        *field = (struct field){.text = adds ? need_format("%s,%s", field->text, value)
                                             : need_text(value, strlen(value))};
    }
    return true;
}

static bool check_param(struct run *run, const char *name, const char *value)
{
    struct manifest *m = &run->manifest;
    const char *known[LEN(run_names) + MANIFEST_PARAMS_MAX];
    size_t count = 0;
    struct why why;
    for (size_t i = 0; i < m->param_count; i++) {
        const struct manifest_param *param = &m->param[i];
        if (strcmp(name + 2, param->name) == 0) {
            bool good = param->type == PARAM_INT    ? valid_int(value, NULL, &why)
                        : param->type == PARAM_BOOL ? valid_bool(value, NULL, &why)
                                                    : true;
            if (!good)
                complain("run: %s: %s", name, why.text);
            return good;
        }
        known[count++] = need_format("--%s", param->name);
    }
    for (size_t i = 0; i < LEN(run_names); i++)
        known[count++] = run_names[i];
    usage_error("run", name, known, count);
    return false;
}

static bool check_spin(const char *value, struct why *why)
{
    int64_t us;
    return (valid_int(value, &us, why) && us >= 0 && us <= 1000000) ||
           fail(why, "\"%.64s\" is not a time; write microseconds from 0 to 1000000", value);
}

/* "90", "30m": both the appliance and we keep to it. */
static bool check_time(struct run *run, const char *name, const char *value, struct why *why)
{
    static const char letters[] = "smhd";
    static const int64_t seconds[] = {1, 60, 3600, 86400};
    size_t len = strlen(value);
    const char *unit = len > 0 ? strchr(letters, value[len - 1]) : NULL;
    char *digits = need_text(value, unit != NULL ? len - 1 : len);
    bool is_lease = strcmp(name, "--lease") == 0;
    int64_t number = -1, each = unit != NULL ? seconds[unit - letters] : 1;
    bool good = digits[0] >= '0' && digits[0] <= '9' && valid_int(digits, &number, why) &&
                number <= 10 * 365 * 86400ll / each && (number > 0 || !is_lease);
    free(digits);
    if (!good)
        return fail(why, "\"%.64s\" is not a time; write 90 (seconds), 30m, 2h or 7d", value);
    *(is_lease ? &run->lease_ms : &run->grace_ms) = number * each * 1000;
    return true;
}

/* One option of the appliance: into the manifest, or checked by itself. */
static bool check_option(struct run *run, const char *name, char **value)
{
    static const char *const of_nets[] = {"--net",     "--ip",   "--gateway",    "--mac",
                                          "--mtu",     "--vlan", "--route",      "--ip6",
                                          "--forward", "--acd",  "--link-local4"};
    struct why why = {""};
    uint32_t mib;
    const char *text = *value;
    bool good = true;
    for (size_t i = 0; i < LEN(of_nets); i++)
        if (strcmp(name, of_nets[i]) == 0)
            return set_net_field(run, name, *value);
    if (strcmp(name, "--host-ip") == 0) {
        if (net_of(run, name, &text) == NULL)
            return false;
        good = strchr(text, ':') != NULL ? valid_cidr6(text, &why) : valid_cidr(text, NULL, &why);
    } else if (strcmp(name, "--pcap") == 0 || strcmp(name, "--fault") == 0 ||
               strcmp(name, "--lease-file") == 0) {
        if (net_of(run, name, &text) == NULL)
            return false;
        good = text[0] != '\0' || fail(&why, "the value is empty; write one");
    } else if (strcmp(name, "--log") == 0) {
        good = valid_log(text, &why);
    } else if (strcmp(name, "--memory") == 0) {
        good = valid_memory(text, true, &mib, &why);
        if (good) {
            *value = need_format("%u", mib); /* the appliance takes MiB only */
            run->manifest.memory_mib = mib;  /* and a machine has no other */
        }
    } else if (strcmp(name, "--dns") == 0) {
        good = valid_dns(text, &why);
    } else if (strcmp(name, "--spin") == 0) {
        good = check_spin(text, &why);
    } else if (strcmp(name, "--workers") == 0) {
        int64_t count;
        good = (valid_int(text, &count, &why) && count >= 1 && count <= 16) ||
               fail(&why, "\"%.64s\" is not a number of processes; write 1 to 16", text);
    } else if (strcmp(name, "--monitor") == 0) {
        good = text[0] != '\0' || fail(&why, "the value is empty; write one");
    } else if (strcmp(name, "--lease") == 0 || strcmp(name, "--grace") == 0) {
        good = check_time(run, name, text, &why);
    } else if (strcmp(name, "--control") == 0 || strcmp(name, "--control-ro") == 0) {
        good = text[0] != '\0' || fail(&why, "the value is empty; write a path or off");
        run->has_control = run->has_control || strcmp(name, "--control") == 0;
    } else if (strcmp(name, "--kv") == 0) {
        const char *equal = strchr(text, '=');
        good = (equal != NULL && equal != text && equal[1] != '\0') ||
               fail(&why, "\"%.64s\" is not NAME=FOLDER, NAME=FILE.tar or NAME=DISK", text);
    } else if (strcmp(name, "--trace") != 0 && strcmp(name, "--no-sandbox") != 0) {
        return check_param(run, name, text);
    }
    if (!good)
        complain("run: %s: %s", name, why.text);
    return good;
}

/* Check all options against the manifest. Returns 0 or EXIT_USAGE. */
int run_check_options(struct run *run)
{
    bool good = true;
    for (size_t i = 0; i < run->options.count; i += 2)
        good = check_option(run, run->options.item[i], &run->options.item[i + 1]) && good;
    struct diag diag = {.file = "mirari: run"};
    manifest_check_nets(&run->manifest, &diag);
    diag_show(&diag, stderr, false);
    good = good && diag.errors == 0;
    diag_free(&diag);
    return good ? 0 : EXIT_USAGE;
}

static void make_argv(struct run *run)
{
    list_add(&run->argv, run->place.binary);
    for (size_t i = 0; i < run->options.count; i += 2) {
        list_add(&run->argv, run->options.item[i]);
        if (strcmp(run->options.item[i], "--no-sandbox") != 0 &&
            (strcmp(run->options.item[i], "--trace") != 0 || run->options.item[i + 1][0] != '\0'))
            list_add(&run->argv, run->options.item[i + 1]);
    }
    for (size_t i = 0; i < run->verbatim.count; i++)
        list_add(&run->argv, run->verbatim.item[i]);
}

/* Networks with DHCP keep their lease for the next start of an appliance of this name, whose MAC is
 * made of it. The folder of the state is that of a session, which is long enough: after a reboot
 * the appliance asks as for the first time. */
static void add_lease_files(struct run *run)
{
    const struct manifest *m = &run->manifest;
    struct state state = {.base_fd = -1};
    if (strcmp(run->common.target, "unix") != 0)
        return;
    for (size_t i = 0; i < run->options.count; i += 2)
        if (strcmp(run->options.item[i], "--lease-file") == 0)
            return;
    for (size_t i = 0; i < m->net_count; i++) {
        const struct field *ip = &m->net[i].ip;
        if (ip->text == NULL || strstr(ip->text, "dhcp") == NULL)
            continue;
        if (state.base_fd < 0 && state_open(&state) != 0)
            return;
        char *value =
            need_format("%s=%s/%s.%s.lease", m->net[i].name, state.base, m->name, m->net[i].name);
        list_add(&run->options, "--lease-file");
        list_add(&run->options, value);
        free(value);
    }
    if (state.base_fd >= 0)
        close(state.base_fd);
}

/* A process is told where the servers of its channels are. */
static int add_channels(struct run *run)
{
    struct list paths = {0};
    int r = channel_plan(run, &paths);
    if (r == 0 && !run->dry_run)
        r = channel_open(&paths);
    for (size_t i = 0; i < paths.count && r == 0; i++) {
        char *value = need_format("%s=%s", run->manifest.channel[i].name, paths.item[i]);
        list_add(&run->options, "--channel");
        list_add(&run->options, value);
        free(value);
    }
    return r;
}

char *command_line(const struct list *argv)
{
    struct str line = {0};
    for (size_t i = 0; i < argv->count; i++) {
        str_text(&line, i > 0 ? " " : "");
        str_shell(&line, argv->item[i]);
    }
    return line.data;
}

/* Options and modes that have a meaning for one kind of target only. */
static int check_target(const struct run *run)
{
    const struct vm_options *o = &run->vm_options;
    const char *option = o->accel != NULL     ? "--accel"
                         : o->machine != NULL ? "--machine"
                         : o->cpu != NULL     ? "--cpu"
                         : o->disks.count > 0 ? "--disk"
                         : o->extra.count > 0 ? "--qemu"
                         : o->is_debugged     ? "--gdb"
                                              : NULL;
    bool is_vm = is_virt(run->common.target);
    if (option != NULL && !is_vm) {
        complain("run: %s is about a virtual machine, target %s is none; add -t virt", option,
                 run->common.target);
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < run->manifest.net_count; i++) {
        const char *mode = run->manifest.net[i].mode.text;
        bool is_machine_only = mode_is(mode, "passt") || mode_is(mode, "vhost-user") ||
                               (mode != NULL && strncmp(mode, "socket:", 7) == 0);
        if (is_vm ? vm_net_mode(mode) : !is_machine_only)
            continue;
        complain("run: net \"%s\": target %s has no mode \"%s\"; take --net %s%s",
                 run->manifest.net[i].name, run->common.target, mode,
                 is_vm ? "user, tap, passt, vhost-user:PATH or socket:..." : "user or tap",
                 is_vm ? "" : ", or -t virt");
        return EXIT_USAGE;
    }
    return is_vm ? vm_check(run) : 0;
}

static int prepare(struct run *run)
{
    if (!run->dry_run && !run->no_build) {
        bool was_quiet = run->common.quiet;
        run->common.quiet = true;
        int r = build(&run->common, &run->manifest, &run->place);
        run->common.quiet = was_quiet;
        if (r != 0)
            return r;
    } else {
        place_of(&run->common, &run->manifest, &run->place);
    }
    bool is_vm = is_virt(run->common.target);
    if (!run->dry_run && access(run->place.binary, is_vm ? R_OK : X_OK) != 0) {
        complain("no executable \"%s\": %s; build it: mirari build%s%s", run->place.binary,
                 strerror(errno), is_vm ? " -t " : "", is_vm ? run->common.target : "");
        return EXIT_FAIL;
    }
    if (is_vm)
        return vm_prepare(run);
    if (!run->dry_run)
        add_lease_files(run);
    int r = add_channels(run);
    make_argv(run);
    return r;
}

int cmd_run(int argc, char **argv)
{
    struct run *run = need(sizeof(*run));
    run->grace_ms = 30000;
    int r = parse_arguments(run, argc, argv);
    if (r == 0)
        r = common_finish(&run->common);
    if (r == 0)
        r = manifest_load(run->common.folder, run->common.file, run->common.quiet, &run->manifest);
    if (r == 0)
        r = run_check_options(run);
    if (r == 0)
        r = check_target(run);
    if (r == 0)
        r = prepare(run);
    if (r != 0)
        return r;
    char *command = command_line(run->vm != NULL ? &run->vm->shown : &run->argv);
    if (run->dry_run) {
        puts(command);
        return 0;
    }
    if (!run->common.quiet)
        fprintf(stderr, "+ %s\n", command);
    if (run->detach)
        return run_detached(run);
    r = run->vm != NULL ? vm_open(run) : 0;
    if (r == 0)
        r = look_after(run, -1);
    if (run->vm != NULL)
        vm_finish(run->vm);
    return r;
}
