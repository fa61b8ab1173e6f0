/* SPDX-License-Identifier: ISC */
/* `mirari image`: a disk that boots the appliance under BIOS and UEFI.
 *
 *   build ── header and segments of the ELF file ─────────────┐
 *   grub-mkimage, for BIOS and for UEFI, with one command in ─┼─ disk.c, fat.c ── raw or qcow2
 *   GRUB's boot.img ──────────────────────────────────────────┘
 *
 * GRUB loads the appliance by Multiboot2 with the options given here as its command line; it has no
 * menu and no configuration file, and only the modules that this takes. Programs are run with names
 * that we chose, in the folder of results; nothing needs root.
 *
 * The disk depends on the appliance, its options and GRUB, not on time or place.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/mirari/image.h"
#include "cmd/mirari/vm.h"

#define GRUB_FOLDER  "/usr/lib/grub"
#define PART_MAX     ((size_t)1 << 30)
#define DATA_DEFAULT 4 /* MiB */

struct request {
    struct run run; /* options of the appliance are those of `run` */
    const char *output, *format;
    uint32_t data_mib;
    bool has_data, is_forced;
    char *work; /* folder for what is made on the way */
};

static const char *const names[] = {"-C",       "-f",      "-t",       "-o",     "-q",
                                    "-j",       "-v",      "--folder", "--file", "--target",
                                    "--output", "--quiet", "--format", "--data", "--force",
                                    "--net",    "--jobs"};

/* ---- options --------------------------------------------------------------------------------- */

static int take_data(struct request *q, const char *value)
{
    struct why why;
    q->has_data = true;
    if (strcmp(value, "0") == 0) {
        q->data_mib = 0;
        return 0;
    }
    if (valid_memory(value, true, &q->data_mib, &why))
        return 0;
    complain("image: --data takes 0 or a size in MiB of at least 4, as in 64 or 1G, not \"%s\"",
             value);
    return EXIT_USAGE;
}

static int take_format(struct request *q, const char *value)
{
    static const char *const formats[] = {"raw", "qcow2"};
    q->format = value;
    for (size_t i = 0; i < LEN(formats); i++)
        if (strcmp(value, formats[i]) == 0)
            return 0;
    complain("image: unknown format \"%s\"; write raw or qcow2%s", value,
             did_you_mean(value, formats, LEN(formats)));
    return EXIT_USAGE;
}

/* Ours with a value: 0 or a status, -1: none of them. */
static int take_own(struct request *q, int argc, char **argv, int *at)
{
    static const char *const own[] = {"-o", "--output", "--format", "--data"};
    const char *arg = argv[*at], *equal = strchr(arg, '=');
    size_t len = equal != NULL ? (size_t)(equal - arg) : strlen(arg), i = 0;
    while (i < LEN(own) && (strlen(own[i]) != len || memcmp(own[i], arg, len) != 0))
        i++;
    if (i == LEN(own))
        return -1;
    const char *value = equal != NULL ? equal + 1 : *at + 1 < argc ? argv[++*at] : NULL;
    if (value == NULL || value[0] == '\0') {
        complain("image: option %s needs a value; write it after the option", own[i]);
        return EXIT_USAGE;
    }
    if (i >= 2)
        return i == 2 ? take_format(q, value) : take_data(q, value);
    q->output = value;
    return 0;
}

static int parse_arguments(struct request *q, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        int r = take_own(q, argc, argv, &i);
        if (r > 0)
            return r;
        if (r == 0)
            continue;
        if (strcmp(argv[i], "--force") == 0) {
            q->is_forced = true;
            continue;
        }
        if (strcmp(argv[i], "--") == 0) {
            while (++i < argc)
                list_add(&q->run.verbatim, argv[i]);
            break;
        }
        r = common_option(&q->run.common, argc, argv, &i, "CftqjvR");
        if (r < 0)
            return EXIT_USAGE;
        if (r == 0 && strncmp(argv[i], "--", 2) != 0)
            return usage_error("image", argv[i], names, LEN(names));
        if (r == 0 && (r = run_take_option(&q->run, argc, argv, &i)) != 0)
            return r;
    }
    return 0;
}

/* ---- parts ----------------------------------------------------------------------------------- */

/* Run a program in the folder of results. What it says is shown only if it fails. */
static int run_program(const struct request *q, const struct list *argv, const char *package)
{
    int status = -1, out = memfd_create("output", MFD_CLOEXEC);
    char *path = find_program(argv->item[0]);
    if (path == NULL) {
        complain("no program %s; install it: apt-get install %s", argv->item[0], package);
        close(out);
        return EXIT_FAIL;
    }
    free(path);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        int null = open("/dev/null", O_RDONLY);
        if (chdir(q->work) != 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
            dup2(out, STDERR_FILENO) < 0)
            _exit(127);
        setenv("LC_ALL", "C", 1);
        execvp(argv->item[0], argv->item);
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (status != 0) {
        char chunk[4096];
        ssize_t got;
        lseek(out, 0, SEEK_SET);
        while ((got = read(out, chunk, sizeof(chunk))) > 0)
            fwrite(chunk, 1, (size_t)got, stderr);
        complain("%s failed; its words are above", argv->item[0]);
    }
    close(out);
    return status == 0 ? 0 : EXIT_FAIL;
}

static int read_part(const char *path, struct str *out)
{
    int r = file_read(path, PART_MAX, out);
    if (r != 0)
        complain("cannot read \"%s\": %s", path, strerror(-r));
    return r != 0 ? EXIT_FAIL : 0;
}

/* One word in a GRUB command. Its loader drops empty ones. */
static int add_grub_word(struct str *out, const char *word)
{
    for (const char *at = word; *at != '\0' || at == word; at++) {
        if ((unsigned char)*at >= 0x20 && *at != 0x7f)
            continue;
        complain("image: \"%s\" cannot be an option of a disk image: GRUB passes on no empty words "
                 "and no control characters",
                 word);
        return EXIT_USAGE;
    }
    str_text(out, " '");
    for (; *word != '\0'; word++)
        str_add(out, *word == '\'' ? "'\\''" : word, *word == '\'' ? 4 : 1);
    str_text(out, "'");
    return 0;
}

static int write_command(const struct request *q, const char *path)
{
    struct list words = {0};
    struct str text = {0};
    int r = 0;
    vm_net_words(&q->run, false, &words);
    vm_words(&q->run, &words);
    str_text(&text, "multiboot2 /mirari");
    for (size_t i = 0; i < words.count && r == 0; i++)
        r = add_grub_word(&text, words.item[i]);
    str_text(&text, "\nboot\n");
    if (r != 0)
        return r;
    r = file_write_if_changed(path, text.data, text.len, NULL);
    str_free(&text);
    if (r != 0)
        complain("cannot write \"%s\": %s; make room", path, strerror(-r));
    return r != 0 ? EXIT_FAIL : 0;
}

/* GRUB for one kind of firmware, with the command in it. */
static int make_grub(const struct request *q, bool is_efi, struct str *out)
{
    static const char *const modules[] = {"part_gpt", "fat", "multiboot2", "biosdisk"};
    const char *format = is_efi ? "x86_64-efi" : "i386-pc",
               *file = is_efi ? "boot.efi" : "core.img";
    const char *package = is_efi ? "grub-efi-amd64-bin" : "grub-pc-bin";
    char *folder = path_join(GRUB_FOLDER, format), *result = path_join(q->work, file);
    struct list argv = {0};
    const char *const words[] = {
        "grub-mkimage", "-O",      format, "-o", file, "-p", is_efi ? "/" : "(,gpt2)/",
        "-c",           "grub.cfg"};
    int r = 0;
    if (access(folder, R_OK) != 0) {
        complain("no GRUB for %s in %s; install it: apt-get install %s", is_efi ? "UEFI" : "BIOS",
                 folder, package);
        r = EXIT_FAIL;
    }
    for (size_t i = 0; i < LEN(words); i++)
        list_add(&argv, words[i]);
    for (size_t i = 0; i < LEN(modules) - (is_efi ? 1 : 0); i++)
        list_add(&argv, modules[i]);
    if (r == 0)
        r = run_program(q, &argv, "grub-common");
    if (r == 0)
        r = read_part(result, out);
    free(folder);
    free(result);
    return r;
}

/* What a loader needs of an ELF file: its header and its segments. GRUB would load sections that
 * are not part of a segment as well, into memory that nobody asked for. */
static int take_segments(const char *path, struct str *out)
{
    Elf64_Ehdr header;
    uint64_t end = sizeof(header);
    int r = read_part(path, out);
    if (r != 0)
        return r;
    bool good = out->len >= sizeof(header);
    if (good)
        memcpy(&header, out->data, sizeof(header));
    good = good && memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_phoff <= out->len &&
           header.e_phentsize == sizeof(Elf64_Phdr) &&
           header.e_phnum <= (out->len - header.e_phoff) / sizeof(Elf64_Phdr);
    for (size_t i = 0; good && i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        memcpy(&segment, out->data + header.e_phoff + i * sizeof(segment), sizeof(segment));
        good = segment.p_offset <= out->len && segment.p_filesz <= out->len - segment.p_offset;
        if (good && segment.p_type == PT_LOAD && segment.p_offset + segment.p_filesz > end)
            end = segment.p_offset + segment.p_filesz;
    }
    if (!good) {
        complain("\"%s\" is damaged; build it again", path);
        return EXIT_FAIL;
    }
    header.e_shoff = header.e_shnum = header.e_shstrndx = 0;
    memcpy(out->data, &header, sizeof(header));
    out->len = end;
    return 0;
}

static int make_parts(struct request *q, struct disk_parts *parts)
{
    char *command = path_join(q->work, "grub.cfg");
    int r = write_command(q, command);
    if (r == 0)
        r = take_segments(q->run.place.binary, &parts->image);
    if (r == 0)
        r = make_grub(q, false, &parts->core);
    if (r == 0)
        r = make_grub(q, true, &parts->efi);
    if (r == 0)
        r = read_part(GRUB_FOLDER "/i386-pc/boot.img", &parts->boot);
    if (r == 0 && (parts->boot.len != SECTOR || parts->core.len < 2 * (size_t)SECTOR)) {
        complain("GRUB in " GRUB_FOLDER " is not of a known form; install grub-pc-bin again");
        r = EXIT_FAIL;
    }
    free(command);
    return r;
}

/* ---- the result ------------------------------------------------------------------------------ */

/* Written under another name first: an interrupted one leaves no half disk. */
static int write_result(const struct request *q, const struct disk *disk)
{
    char *partial = need_format("%s.part-%d", q->output, (int)getpid());
    int fd = open(partial, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    int r = fd < 0 ? -errno : 0;
    if (r == 0)
        r = strcmp(q->format, "raw") == 0 ? disk_write_raw(disk, fd) : disk_write_qcow2(disk, fd);
    if (fd >= 0 && close(fd) != 0 && r == 0)
        r = -errno;
    if (r == 0 && rename(partial, q->output) != 0)
        r = -errno;
    if (r != 0) {
        unlink(partial);
        complain("cannot write \"%s\": %s; make room, or choose another file with -o", q->output,
                 strerror(-r));
    }
    free(partial);
    return r != 0 ? EXIT_FAIL : 0;
}

static int make_image(struct request *q)
{
    struct disk_parts parts = {.data_bytes = (uint64_t)q->data_mib << 20};
    struct disk disk;
    int r = make_parts(q, &parts);
    if (r != 0)
        return r;
    disk_make(&parts, &disk);
    r = write_result(q, &disk);
    if (r == 0 && !q->run.common.quiet)
        printf("%s: a disk of %llu bytes: %zu appliance, %zu + %zu GRUB for BIOS and UEFI, %u MiB "
               "for data\n",
               q->output, (unsigned long long)disk.size_bytes, parts.image.len, parts.core.len,
               parts.efi.len, q->data_mib);
    return r;
}

static int check_request(struct request *q)
{
    struct stat st;
    const char *name = q->run.manifest.name;
    if (q->format == NULL)
        q->format = "raw";
    if (!q->has_data)
        q->data_mib = DATA_DEFAULT;
    if (q->output == NULL)
        q->output = need_format("%s.%s", name, strcmp(q->format, "raw") == 0 ? "img" : q->format);
    if (lstat(q->output, &st) != 0)
        return 0;
    if (!S_ISREG(st.st_mode)) {
        complain("image: \"%s\" is not a file; name one with -o, and copy it where it belongs: dd",
                 q->output);
        return EXIT_FAIL;
    }
    if (!q->is_forced) {
        complain("image: \"%s\" exists already and may hold data of the appliance; remove it, or "
                 "write --force",
                 q->output);
        return EXIT_FAIL;
    }
    return 0;
}

int cmd_image(int argc, char **argv)
{
    struct request *q = need(sizeof(*q));
    struct run *run = &q->run;
    run->common.target = "virt";
    int r = parse_arguments(q, argc, argv);
    if (r == 0)
        r = common_finish(&run->common);
    if (r == 0 && strcmp(run->common.arch, "x86_64") != 0) {
        complain("image: disks are made for x86_64 only; `mirari run -t virt --arch %s` needs none",
                 run->common.arch);
        r = EXIT_USAGE;
    }
    if (r == 0 && !is_virt(run->common.target)) {
        complain("image: target %s has no disk images; take -t virt", run->common.target);
        r = EXIT_USAGE;
    }
    if (r == 0)
        r = manifest_load(run->common.folder, run->common.file, run->common.quiet, &run->manifest);
    if (r == 0)
        r = run_check_options(run);
    if (r == 0)
        r = check_request(q);
    if (r == 0) {
        bool was_quiet = run->common.quiet;
        run->common.quiet = true;
        r = build(&run->common, &run->manifest, &run->place);
        run->common.quiet = was_quiet;
    }
    if (r != 0)
        return r;
    q->work = path_join(run->place.gen, ".disk");
    r = make_folders(q->work);
    if (r != 0) {
        complain("cannot make folder \"%s\": %s", q->work, strerror(-r));
        return EXIT_FAIL;
    }
    return make_image(q);
}
