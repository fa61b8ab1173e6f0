/* SPDX-License-Identifier: ISC */
/* The command line of QEMU for an appliance of target virt.
 *
 *   what            from, in this order                     if nobody says
 *   machine         --machine, vm.machine of the manifest   microvm
 *   accelerator     --accel, vm.accel                       KVM if it works here (accel.c), else
 * TCG processor       --cpu, vm.cpu                           host with KVM, else max memory
 * --memory, memory                        64 MiB disks           --disk ..., vm.disk none networks
 * options of `run`, net of the manifest   vm_net.c anything        --qemu WORD, after all others
 *
 * Devices come in the order of the manifest: networks, then disks, then random numbers, then the
 * port of the control channel, if the image has one (vm.control); on microvm
 * on ascending virtio-mmio buses, else on ascending PCI slots, so the guest sees the same order.
 * The guest's command line is what `run` was given for the appliance, without what concerns the
 * host only.
 *
 * The machine's serial port is QEMU's standard input and output; the exit status comes through
 * isa-debug-exit (QEMU ends with 2 x status + 1), panics through pvpanic. QEMU itself is confined
 * by its own sandbox. Two forms are made: one to show, which runs by itself, and one to execute,
 * which has our descriptors in it (QMP, taps).
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/mirari/vm.h"

/* ---- options --------------------------------------------------------------------------------- */

/* The last one is of aarch64, the others of x86-64. */
static const char *const machines[] = {"microvm", "q35", "pc", "virt"};
#define MACHINE_ARM machines[3]
#define ARCH_ARM    "aarch64"
static const char *const accels[] = {"auto", "kvm", "tcg"};

static bool one_of(const char *text, const char *what, const char *const *names, size_t count,
                   struct why *why)
{
    struct str all = {0};
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, names[i]) == 0) {
            str_free(&all);
            return true;
        }
        str_format(&all, "%s%s", i == 0 ? "" : i + 1 == count ? " or " : ", ", names[i]);
    }
    fail(why, "unknown %s \"%.64s\"; write %s%s", what, text, all.data,
         did_you_mean(text, names, count));
    str_free(&all);
    return false;
}

bool valid_machine(const char *text, struct why *why)
{
    return one_of(text, "machine", machines, LEN(machines), why);
}

bool valid_accel(const char *text, struct why *why)
{
    return one_of(text, "accelerator", accels, LEN(accels), why);
}

bool valid_cpu(const char *text, struct why *why)
{
    size_t len = strlen(text);
    bool good = len >= 1 && len <= 128 && isalnum((unsigned char)text[0]);
    for (size_t i = 0; i < len && good; i++)
        good = isalnum((unsigned char)text[i]) || strchr("-_.,+=", text[i]) != NULL;
    return good || fail(why,
                        "\"%.64s\" is not a processor; write a model of QEMU such as max, host or "
                        "Haswell,-avx2",
                        text);
}

/* Length of the file's name in FILE[,ro]. */
static size_t disk_name_len(const char *text, bool *is_read_only)
{
    size_t len = strlen(text);
    *is_read_only = len > 3 && strcmp(text + len - 3, ",ro") == 0;
    return *is_read_only ? len - 3 : len;
}

bool valid_disk(const char *text, struct why *why)
{
    bool is_read_only;
    size_t len = disk_name_len(text, &is_read_only);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20)
            return fail(why, "disk \"%.64s\" has a control character in its name; rename it", text);
    return len > 0 || fail(why, "the disk has no name; write FILE or FILE,ro");
}

static bool valid_channel(const char *text, struct why *why)
{
    const char *equal = strchr(text, '=');
    return (text[0] != '\0' && (equal == NULL || (equal != text && equal[1] != '\0'))) ||
           fail(why, "\"%.64s\" is not REGION or NAME=REGION", text);
}

static int take_gdb(struct vm_options *options, const char *value)
{
    struct why why;
    int64_t port;
    options->is_debugged = true;
    if (value == NULL)
        return 1;
    if (!valid_int(value, &port, &why) || port < 1 || port > 65535) {
        complain("run: --gdb takes a port from 1 to 65535, as in --gdb=1234, not \"%s\"", value);
        return -1;
    }
    options->debug_port = (uint16_t)port;
    return 1;
}

int vm_option(struct vm_options *options, int argc, char **argv, int *at)
{
    static const struct {
        const char *name;
        bool (*check)(const char *text, struct why *why);
    } known[] = {{"--accel", valid_accel}, {"--machine", valid_machine}, {"--cpu", valid_cpu},
                 {"--disk", valid_disk},   {"--channel", valid_channel}, {"--qemu", NULL}};
    const char *arg = argv[*at];
    struct why why;
    size_t i = 0, len = strcspn(arg, "=");
    if (strcmp(arg, "--gdb") == 0 || strncmp(arg, "--gdb=", 6) == 0)
        return take_gdb(options, arg[5] == '=' ? arg + 6 : NULL);
    while (i < LEN(known) && (strlen(known[i].name) != len || memcmp(known[i].name, arg, len) != 0))
        i++;
    if (i == LEN(known))
        return 0;
    const char *value = arg[len] == '=' ? arg + len + 1 : *at + 1 < argc ? argv[++*at] : NULL;
    if (value == NULL) {
        complain("run: option %s needs a value; write it after the option", arg);
        return -1;
    }
    if (known[i].check != NULL && !known[i].check(value, &why)) {
        complain("run: %s: %s", known[i].name, why.text);
        return -1;
    }
    if (i < 3)
        *(i == 0 ? &options->accel : i == 1 ? &options->machine : &options->cpu) = value;
    else
        list_add(i == 3 ? &options->disks : i == 4 ? &options->channels : &options->extra, value);
    return 1;
}

/* ---- the guest's command line ---------------------------------------------------------------- */

/* Words with blanks in quotes (target/virt/words.c). */
static char *guest_line(const struct list *words)
{
    struct str out = {0};
    str_add(&out, "", 0);
    for (size_t i = 0; i < words->count; i++) {
        const char *word = words->item[i];
        bool is_plain = *word != '\0' && strpbrk(word, " \t\n\r\"\\") == NULL;
        str_text(&out, i > 0 ? " " : "");
        str_text(&out, is_plain ? "" : "\"");
        for (; *word != '\0'; word++) {
            if (*word == '"' || *word == '\\')
                str_text(&out, "\\");
            str_add(&out, word, 1);
        }
        str_text(&out, is_plain ? "" : "\"");
    }
    return out.data;
}

void vm_words(const struct run *run, struct list *words)
{
    static const char *const of_host[] = {
        "--net",  "--forward",    "--host-ip",    "--mac",     "--memory",
        "--pcap", "--no-sandbox", "--lease-file", "--control", "--control-ro"};
    const struct list *options = &run->options;
    for (size_t i = 0; i < options->count; i += 2) {
        const char *name = options->item[i], *value = options->item[i + 1];
        bool is_of_host = false;
        for (size_t k = 0; k < LEN(of_host); k++)
            is_of_host = is_of_host || strcmp(name, of_host[k]) == 0;
        if (is_of_host)
            continue;
        list_add(words, name);
        if (strcmp(name, "--trace") != 0 || value[0] != '\0')
            list_add(words, value);
    }
    for (size_t i = 0; i < run->verbatim.count; i++)
        list_add(words, run->verbatim.item[i]);
}

/* ---- decisions ------------------------------------------------------------------------------- */

static const char *first_of(const char *option, const struct field *field, const char *otherwise)
{
    return option != NULL ? option : field->text != NULL ? field->text : otherwise;
}

int vm_check(const struct run *run)
{
    const char *machine = run->vm_options.machine, *arch = run->common.arch;
    bool is_arm = strcmp(arch, ARCH_ARM) == 0;
    if (machine == NULL || (strcmp(machine, MACHINE_ARM) == 0) == is_arm)
        return 0;
    complain("run: machine %s is not one of %s; write %s", machine, arch,
             is_arm ? MACHINE_ARM : "microvm, q35 or pc");
    return EXIT_USAGE;
}

/* Machine and processor of the manifest are those of x86-64: the other architecture has one
 * machine. */
static void choose_machine(const struct run *run, struct vm *vm)
{
    const struct vm_options *options = &run->vm_options;
    const struct field none = {0}, *machine = &run->manifest.vm.machine,
                       *cpu = &run->manifest.vm.cpu;
    bool has_kvm = strcmp(vm->accel, "kvm") == 0;
    vm->machine = first_of(options->machine, vm->is_arm ? &none : machine,
                           vm->is_arm ? MACHINE_ARM : machines[0]);
    vm->is_mmio = vm->is_arm || strcmp(vm->machine, "microvm") == 0;
    vm->cpu = first_of(options->cpu, vm->is_arm ? &none : cpu, has_kvm ? "host" : "max");
}

static int choose_accel(struct run *run, struct vm *vm)
{
    struct why why = {""};
    const char *wanted = first_of(run->vm_options.accel, &run->manifest.vm.accel, "auto");
    if (strcmp(wanted, "kvm") == 0) {
        vm->accel = "kvm";
        if (access("/dev/kvm", R_OK | W_OK) == 0)
            return 0;
        complain("accelerator kvm: /dev/kvm: %s; take --accel tcg, or see `mirari doctor`",
                 strerror(errno));
        return EXIT_FAIL;
    }
    if (strcmp(wanted, "tcg") == 0) {
        vm->accel = "tcg";
        return 0;
    }
    vm->accel = accel_works(vm->arch, &why) ? "kvm" : "tcg";
    if (!run->common.quiet)
        complain("accelerator %s (%s)", vm->accel, why.text);
    return 0;
}

/* An image has the code for disks only if its manifest has some, by name or in vm. */
static int check_disks(const struct run *run, const struct vm *vm)
{
    const struct manifest *m = &run->manifest;
    if (vm->disks.count > 0 && m->disk_count == 0 && m->vm.disks.count == 0) {
        complain("disk \"%s\": the appliance knows no disks; name it in %s: disk NAME { }",
                 vm->disks.item[0], m->file);
        return EXIT_FAIL;
    }
    for (size_t i = vm->disks.count; i < m->disk_count; i++) {
        if (m->disk[i].is_optional)
            continue;
        complain("the appliance needs disk %zu, \"%s\"; add --disk FILE", i + 1, m->disk[i].name);
        return EXIT_FAIL;
    }
    return 0;
}

/* As for other lists, the first one on the command line replaces those of the manifest. */
static int choose_disks(struct run *run, struct vm *vm)
{
    const struct list *options = &run->vm_options.disks;
    bool is_given = options->count > 0;
    const struct list *from = is_given ? options : &run->manifest.vm.disks;
    for (size_t i = 0; i < from->count; i++) {
        bool is_read_only;
        char *path = is_given ? need_text(from->item[i], strlen(from->item[i]))
                              : path_join(run->manifest.folder, from->item[i]);
        char *file = need_text(path, disk_name_len(path, &is_read_only));
        struct stat st;
        int error = access(file, is_read_only ? R_OK : R_OK | W_OK) != 0 ? errno : 0;
        if (error == 0 && (stat(file, &st) != 0 || S_ISDIR(st.st_mode)))
            error = EISDIR;
        if (error != 0) {
            complain("disk \"%s\": %s; %s", file, strerror(error),
                     error == ENOENT   ? "make one: truncate -s 64M FILE"
                     : error == EISDIR ? "name a file or a block device"
                                       : "correct its permissions, or write FILE,ro");
            return EXIT_FAIL;
        }
        list_add(&vm->disks, path);
        free(file);
        free(path);
    }
    return check_disks(run, vm);
}

/* A port of ours that nobody listens on, @wanted if it is free. 0: none. */
static int free_port(uint16_t wanted, bool is_strict)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(wanted),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, port = 0;
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    bool is_bound = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    if (!is_bound && !is_strict) {
        address.sin_port = 0;
        is_bound = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    }
    if (is_bound && getsockname(fd, (struct sockaddr *)&address, &len) == 0)
        port = ntohs(address.sin_port);
    if (fd >= 0)
        close(fd);
    return port;
}

/* The image draws its addresses and then moves there: until it has, it runs where it was linked, so
 * the debugger stops before, and is told where it went by what mir__boot_prepare() returns. */
static int write_gdb_script(const struct run *run, const struct vm *vm, const char *path)
{
    struct str text = {0};
    struct sdk sdk;
    char *image = realpath(run->place.binary, NULL), *folder = realpath(run->manifest.folder, NULL);
    if (sdk_find(&sdk, vm->arch) != 0)
        return EXIT_FAIL;
    /* Sources are named relative to the appliance's folder and to that of Mirari. */
    str_format(&text,
               "# Made by `mirari run --gdb`: gdb -x THIS. Ends where mir_app_main() begins.\n"
               "set confirm off\n"
               "set pagination off\n"
               "directory %s:%s/..\n"
               "file %s\n"
               "target remote 127.0.0.1:%d\n"
               "thbreak mir__boot_prepare\n"
               "continue\n"
               "finish\n"
               "symbol-file -o $ %s\n"
               "thbreak mir_app_main\n"
               "continue\n",
               folder != NULL ? folder : ".", sdk.include,
               image != NULL ? image : run->place.binary, vm->gdb_port,
               image != NULL ? image : run->place.binary);
    int r = file_write_if_changed(path, text.data, text.len, NULL);
    str_free(&text);
    free(image);
    free(folder);
    if (r != 0)
        complain("cannot write \"%s\": %s; make room", path, strerror(-r));
    return r != 0 ? EXIT_FAIL : 0;
}

static int choose_gdb(struct run *run, struct vm *vm)
{
    const struct vm_options *options = &run->vm_options;
    int r = 0;
    if (!options->is_debugged)
        return 0;
    uint16_t wanted = options->debug_port != 0 ? options->debug_port : 1234;
    vm->gdb_port = free_port(wanted, options->debug_port != 0);
    if (vm->gdb_port == 0) {
        complain("--gdb: port %u of this machine is not free; choose another: --gdb=PORT", wanted);
        return EXIT_FAIL;
    }
    char *path = need_format("%s.gdb", run->place.binary);
    if (!run->dry_run)
        r = write_gdb_script(run, vm, path);
    struct str line = {0};
    str_shell(&line, path);
    if (r == 0 && !run->dry_run)
        complain("waiting for a debugger on 127.0.0.1:%d; in another terminal: gdb%s -x %s",
                 vm->gdb_port, is_foreign(vm->arch) ? "-multiarch" : "", line.data);
    str_free(&line);
    free(path);
    return r;
}

/* ---- the command line ------------------------------------------------------------------------ */

static void add(struct list *argv, const char *name, const char *fmt, ...) PRINTF(3, 4);
static void add(struct list *argv, const char *name, const char *fmt, ...)
{
    va_list args;
    char *text = NULL;
    list_add(argv, name);
    va_start(args, fmt);
    int len = vasprintf(&text, fmt, args);
    va_end(args);
    if (len >= 0)
        list_add(argv, text);
    free(text);
}

/* QEMU's lists have commas; one in a name is written twice. */
static char *qemu_name(const char *text, size_t len)
{
    struct str out = {0};
    str_add(&out, "", 0);
    for (size_t i = 0; i < len; i++)
        str_add(&out, text[i] == ',' ? ",," : &text[i], text[i] == ',' ? 2 : 1);
    return out.data;
}

static bool is_qcow2(const char *file)
{
    char magic[4] = "";
    FILE *f = fopen(file, "re");
    bool is = f != NULL && fread(magic, 1, 4, f) == 4 && memcmp(magic, "QFI\xfb", 4) == 0;
    if (f != NULL)
        fclose(f);
    return is;
}

static void add_disk(const struct vm *vm, size_t index, unsigned *bus, struct list *argv)
{
    const char *text = vm->disks.item[index];
    bool is_read_only;
    size_t len = disk_name_len(text, &is_read_only);
    char *file = need_text(text, len), *name = qemu_name(text, len);
    add(argv, "-drive", "if=none,id=disk%zu,format=%s,discard=unmap%s,file=%s", index,
        is_qcow2(file) ? "qcow2" : "raw", is_read_only ? ",readonly=on" : "", name);
    if (vm->is_mmio)
        add(argv, "-device", "virtio-blk-device,drive=disk%zu,bus=virtio-mmio-bus.%u", index,
            (*bus)++);
    else
        add(argv, "-device", "virtio-blk-pci,drive=disk%zu", index);
    free(file);
    free(name);
}

static void add_net_device(const struct run *run, const struct vm *vm, size_t index, unsigned *bus,
                           struct list *argv)
{
    const struct manifest_net *net = &run->manifest.net[index];
    struct str device = {0};
    str_format(&device, "%s,netdev=%s,mac=%s", vm->is_mmio ? "virtio-net-device" : "virtio-net-pci",
               net->name, net->mac.text);
    if (net->mtu.text != NULL)
        str_format(&device, ",host_mtu=%s", net->mtu.text);
    if (vm->is_mmio)
        str_format(&device, ",bus=virtio-mmio-bus.%u", (*bus)++);
    else
        str_text(&device, ",romfile=");
    add(argv, "-device", "%s", device.data);
    str_free(&device);
}

static void add_machine(const struct run *run, const struct vm *vm, struct list *argv)
{
    /* Channels are PCI devices that interrupt by messages: GICv3 has none without an ITS. */
    bool is_pci = vm->channels.count > 0;
    const char *const details[] = {is_pci ? "microvm,rtc=on,pcie=on" : "microvm,rtc=on",
                                   "q35,usb=off,vmport=off,sata=off,smbus=off",
                                   "pc,usb=off,vmport=off",
                                   is_pci ? "virt,gic-version=2" : "virt,gic-version=max"};
    bool is_shared = false;
    for (size_t i = 0; i < run->manifest.net_count; i++)
        is_shared = is_shared || mode_is(run->manifest.net[i].mode.text, "vhost-user");
    const char *detail = vm->machine;
    for (size_t i = 0; i < LEN(machines); i++)
        if (strcmp(vm->machine, machines[i]) == 0)
            detail = details[i];
    /* An emulator of one processor leaves out its memory barriers (QEMU before 8.0), and a doorbell
     * of a ring that the host reads at the same time may go missing. It is told of a second one
     * that could come. */
    if (strcmp(vm->accel, "tcg") == 0)
        add(argv, "-smp", "1,maxcpus=2");
    add(argv, "-machine", "%s%s", detail, is_shared || vm->ram >= 0 ? ",memory-backend=ram" : "");
    add(argv, "-accel", "%s", vm->accel);
    add(argv, "-cpu", "%s", vm->cpu);
    add(argv, "-m", "%uM", run->manifest.memory_mib);
    if (vm->ram >= 0)
        add(argv, "-object",
            "memory-backend-file,id=ram,mem-path=/proc/self/fd/%d,share=on,size=%uM", vm->ram,
            run->manifest.memory_mib);
    else if (is_shared)
        add(argv, "-object", "memory-backend-memfd,id=ram,share=on,size=%uM",
            run->manifest.memory_mib);
    if (vm->is_mmio)
        add(argv, "-global", "virtio-mmio.force-legacy=false");
}

/* Port 0 is for consoles only. */
static void add_control_port(const struct vm *vm, unsigned bus, struct list *argv)
{
    add(argv, "-chardev", "socket,id=port,fd=%d", vm->line[1]);
    if (vm->is_mmio)
        add(argv, "-device", "virtio-serial-device,max_ports=2,bus=virtio-mmio-bus.%u", bus);
    else
        add(argv, "-device", "virtio-serial-pci,max_ports=2");
    add(argv, "-device", "virtserialport,chardev=port,name=" MIR__LINE_PORT);
}

static void make_argv(const struct run *run, const struct vm *vm, bool is_dry, struct list *argv)
{
    const struct manifest *m = &run->manifest;
    /* Not the first one of microvm: QEMU 7.2 takes pin 0 of the second interrupt controller, where
     * it is, for the timer of PCs, and its interrupts go astray. */
    unsigned bus = vm->is_arm ? 0 : 1;
    char *program = need_format("qemu-system-%s", vm->arch);
    list_add(argv, program);
    free(program);
    add(argv, "-name", "%s", m->name);
    list_add(argv, "-nodefaults");
    list_add(argv, "-no-user-config");
    list_add(argv, "-no-reboot");
    add(argv, "-display", "none");
    add_machine(run, vm, argv);
    add(argv, "-kernel", "%s", run->place.binary);
    char *line = guest_line(&vm->words);
    if (line[0] != '\0')
        add(argv, "-append", "%s", line);
    free(line);
    add(argv, "-chardev", "stdio,id=console,signal=off");
    add(argv, "-serial", "chardev:console");
    /* Semihosting for a debugger that is not there: of all calls only the exit has an effect. With
     * another target the guest could open files of ours. */
    if (vm->is_arm) {
        add(argv, "-semihosting-config", "enable=on,target=gdb");
    } else {
        add(argv, "-device", "isa-debug-exit,iobase=0x501,iosize=2");
        add(argv, "-device", "pvpanic");
        add(argv, "-action", "panic=none"); /* it has hooks to run; watch.c ends it if they hang */
    }
    for (size_t i = 0; i < m->net_count; i++) {
        vm_net_args(run, vm, i, is_dry, argv);
        add_net_device(run, vm, i, &bus, argv);
    }
    for (size_t i = 0; i < vm->disks.count; i++)
        add_disk(vm, i, &bus, argv);
    for (size_t i = 0; i < vm->channels.count; i++) {
        char *path = qemu_name(vm->channels.item[i], strlen(vm->channels.item[i]));
        add(argv, "-chardev", "socket,id=channel%zu,path=%s", i, path);
        add(argv, "-device", "ivshmem-doorbell,vectors=1,chardev=channel%zu", i);
        free(path);
    }
    add(argv, "-object", "rng-builtin,id=random");
    if (vm->is_mmio)
        add(argv, "-device", "virtio-rng-device,rng=random,bus=virtio-mmio-bus.%u", bus++);
    else
        add(argv, "-device", "virtio-rng-pci,rng=random");
    if (!is_dry && vm->line[1] >= 0)
        add_control_port(vm, bus, argv);
    add(argv, "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    if (vm->gdb_port != 0)
        add(argv, "-gdb", "tcp:127.0.0.1:%d", vm->gdb_port);
    if (!is_dry || vm->gdb_port != 0)
        list_add(argv, "-S");
    if (!is_dry) {
        add(argv, "-chardev", "socket,id=control,fd=%d", vm->control[1]);
        add(argv, "-mon", "chardev=control,mode=control");
    }
    for (size_t i = 0; i < run->vm_options.extra.count; i++)
        list_add(argv, run->vm_options.extra.item[i]);
}

/* --control and --control-ro are about the image's channel, if it has one. */
static int choose_control(const struct run *run, struct vm *vm)
{
    const struct list *options = &run->options;
    bool is_off = !run->manifest.vm.has_control;
    for (size_t i = 0; i < options->count; i += 2) {
        const char *name = options->item[i], *value = options->item[i + 1];
        bool is_full = strcmp(name, "--control") == 0, is_path = strcmp(value, "off") != 0;
        if (!is_full && strcmp(name, "--control-ro") != 0)
            continue;
        if (is_path && !run->manifest.vm.has_control) {
            complain("%s: the image of \"%s\" has no control channel; write vm { control = true } "
                     "in %s",
                     name, run->manifest.name, run->manifest.file);
            return EXIT_USAGE;
        }
        is_off = is_off || (is_full && !is_path);
        if (is_path)
            *(is_full ? &vm->control_path : &vm->control_ro_path) = value;
    }
    vm->has_line = !is_off;
    return 0;
}

int vm_prepare(struct run *run)
{
    struct vm *vm = need(sizeof(*vm));
    run->vm = vm;
    vm->arch = run->common.arch;
    vm->is_arm = strcmp(vm->arch, ARCH_ARM) == 0;
    vm->control[0] = vm->control[1] = vm->input = vm->line[0] = vm->line[1] = vm->ram = -1;
    for (size_t i = 0; i < LEN(vm->net); i++)
        vm->net[i].fd = -1;
    char *program = need_format("qemu-system-%s", vm->arch);
    char *path = find_program(program);
    bool has_qemu = run->dry_run || path != NULL;
    free(path);
    if (!has_qemu)
        complain("no %s in PATH; install it: apt-get install qemu-system-%s", program,
                 vm->is_arm ? "arm" : "x86");
    free(program);
    if (!has_qemu)
        return EXIT_FAIL;
    int r = choose_accel(run, vm);
    if (r == 0)
        r = choose_disks(run, vm);
    if (r == 0)
        r = channel_plan(run, &vm->channels);
    if (r != 0)
        return r;
    choose_machine(run, vm);
    vm_net_plan(run, vm);
    vm_net_words(run, true, &vm->words);
    vm_words(run, &vm->words);
    r = choose_control(run, vm);
    if (r == 0)
        r = choose_gdb(run, vm);
    if (r == 0)
        make_argv(run, vm, true, &vm->shown);
    return r;
}

/* Memory that we hold, too, so that the record in it outlives the machine (crash.c). Without it the
 * machine has memory of QEMU's, and no record. */
static void open_memory(const struct run *run, struct vm *vm)
{
    vm->ram = memfd_create("mirari-memory", MFD_CLOEXEC);
    if (vm->ram < 0 || ftruncate(vm->ram, (off_t)run->manifest.memory_mib << 20) == 0)
        return;
    close(vm->ram);
    vm->ram = -1;
}

int vm_open(struct run *run)
{
    struct vm *vm = run->vm;
    int r = vm_net_open(run, vm);
    if (r == 0)
        r = channel_open(&vm->channels);
    if (r == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, vm->control) != 0) {
        complain("cannot make a socket pair: %s; close other programs", strerror(errno));
        r = EXIT_FAIL;
    }
    if (r == 0 && vm->has_line &&
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, vm->line) != 0) {
        complain("cannot make a socket pair: %s; close other programs", strerror(errno));
        r = EXIT_FAIL;
    }
    if (r == 0 && vm->has_line)
        open_memory(run, vm);
    if (r == 0)
        make_argv(run, vm, false, &run->argv);
    return r;
}

void vm_finish(struct vm *vm)
{
    for (size_t i = 0; i < LEN(vm->net); i++) {
        if (vm->net[i].fd >= 0)
            close(vm->net[i].fd);
        vm->net[i].fd = -1;
        if (vm->net[i].helper > 0) {
            kill(vm->net[i].helper, SIGTERM);
            waitpid(vm->net[i].helper, NULL, 0);
        }
        vm->net[i].helper = 0;
    }
}

int vm_status(const struct vm *vm, int status)
{
    if (vm->is_arm)
        return status;
    return status & 1 ? status >> 1 : status;
}
