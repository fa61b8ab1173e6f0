/* SPDX-License-Identifier: ISC */
/* Compiles and links what changed, and removes what was built.
 *
 * Each object has a record beside it: the command that made it, and name, size and time of every
 * file it was made from (the compiler, its sources and headers; for the appliance its objects and
 * libraries). If a record made anew is equal byte for byte, nothing is done. So a changed option,
 * an older file put back or another compiler are all noticed, and nothing else costs time.
 *
 * Commands are run directly, never through a shell or a makefile: names may hold any byte but
 * control characters.
 *
 * Reproducible: sources are compiled from their own folder under relative names, with PWD set to
 * /proc/self/cwd so that the compiler does not see where that is, and the folder of headers is
 * mapped to a fixed name. The result depends on sources, options, compiler and libraries, not on
 * place or time.
 *
 * Output of a compiler is kept until it ends, so that messages of parallel compilers do not mix.
 * Objects are written under another name and renamed: an interrupted build leaves none half done.
 * A lock keeps two builds of one folder apart.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/mirari/elf.h"
#include "cmd/mirari/pack.h"
#include "cmd/mirari/tool.h"

#ifndef MIR_HOST_LIBS
#define MIR_HOST_LIBS "-lslirp -lseccomp -lglib-2.0"
#endif
#ifndef MIR_VIRT_CFLAGS
#define MIR_VIRT_CFLAGS          "-fPIE -ffreestanding -nostdinc -mno-red-zone"
#define MIR_VIRT_LDFLAGS         "-static-pie -nostdlib"
#define MIR_MUSL_INCLUDE         "/usr/include/x86_64-linux-musl"
#define MIR_MUSL_LIB             "/usr/lib/x86_64-linux-musl"
#define MIR_VIRT_CFLAGS_AARCH64  "-fPIE -ffreestanding -nostdinc"
#define MIR_VIRT_LDFLAGS_AARCH64 "-static-pie -nostdlib"
#endif
/* Debian's cross compiler, for images of the other architecture. */
#define CROSS_COMPILER "aarch64-linux-gnu-gcc"

/* One thing to make: an object, or the appliance. */
struct step {
    const char *what;   /**< "CC", "AS", "LD" */
    const char *name;   /**< as the user knows it */
    const char *cwd;    /**< where the command runs; inputs are relative to it */
    char *output;       /**< absolute */
    char *base;         /**< its record, depfile and unfinished form are named after this */
    struct list argv;   /**< without the output */
    struct list inputs; /**< files it depends on besides those in the depfile */
    bool has_depfile;
    struct timespec begun;
    pid_t pid;
    int capture;
};

struct builder {
    const struct common *common;
    const struct manifest *manifest;
    struct sdk sdk;
    struct list compiler; /**< words */
    char *compiler_path;
    /* Of target virt only: folder of the compiler's own headers; the C library's headers and
     * archive, NULL = there is none for this architecture. */
    char *compiler_include, *musl_include, *musl_lib;
    bool named_folder;
    unsigned failed, made;
};

/* ---- records
 * ------------------------------------------------------------------------------------- */

static char *beside(const struct step *step, const char *end)
{
    return need_format("%s%s", step->base, end);
}

static void add_stat(struct str *record, int cwd_fd, const char *path)
{
    struct stat st;
    if (fstatat(cwd_fd, path, &st, 0) != 0)
        st = (struct stat){.st_size = -1};
    str_format(record, "%lld %lld.%09ld %s", (long long)st.st_size, (long long)st.st_mtim.tv_sec,
               st.st_mtim.tv_nsec, path);
    str_add(record, "", 1);
}

/* @deps: names from the depfile, or from the old record. */
static struct str make_record(const struct step *step, const struct list *deps)
{
    struct str record = {0};
    int cwd_fd = open(step->cwd, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < step->argv.count; i++)
        str_add(&record, step->argv.item[i], strlen(step->argv.item[i]) + 1);
    str_add(&record, "", 1); /* an empty word ends the command: no argument is empty */
    for (size_t i = 0; i < step->inputs.count; i++)
        add_stat(&record, cwd_fd, step->inputs.item[i]);
    str_add(&record, "", 1);
    for (size_t i = 0; i < deps->count; i++)
        add_stat(&record, cwd_fd, deps->item[i]);
    if (cwd_fd >= 0)
        close(cwd_fd);
    return record;
}

/* The names of the third part of a record. */
static void deps_of_record(const struct str *record, struct list *deps)
{
    int part = 0;
    for (size_t at = 0; at < record->len;) {
        const char *word = record->data + at;
        size_t len = strlen(word);
        at += len + 1;
        if (len == 0) {
            part++;
        } else if (part >= 2) {
            const char *name = strchr(word, ' ');
            name = name != NULL ? strchr(name + 1, ' ') : NULL;
            if (name != NULL)
                list_add(deps, name + 1);
        }
    }
}

static void free_items(struct list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->item[i]);
    free(list->item);
    *list = (struct list){0};
}

static bool is_current(const struct step *step)
{
    struct str before = {0};
    struct list deps = {0};
    char *path = beside(step, ".rec");
    bool same = access(step->output, F_OK) == 0 && file_read(path, 64u << 20, &before) == 0;
    free(path);
    if (same) {
        deps_of_record(&before, &deps);
        struct str now = make_record(step, &deps);
        same = now.len == before.len && memcmp(now.data, before.data, now.len) == 0;
        str_free(&now);
    }
    free_items(&deps);
    str_free(&before);
    return same;
}

/* "x: a b\ c \<newline> d" as GCC and clang write it; phony rules of -MP are not asked for. */
static void read_depfile(const struct step *step, struct list *deps)
{
    struct str text = {0}, word = {0};
    char *path = beside(step, ".d");
    if (file_read(path, 16u << 20, &text) != 0 || text.len == 0) {
        free(path);
        return;
    }
    unlink(path);
    free(path);
    const char *at = strstr(text.data, ": ");
    at = at != NULL ? at + 2 : text.data + text.len;
    for (;; at++) {
        if (at[0] == '\\' && at[1] == '\n') {
            at++;
        } else if (at[0] == '\\' && (at[1] == ' ' || at[1] == '#' || at[1] == '\\')) {
            at++;
            str_add(&word, at, 1);
            continue;
        } else if (at[0] == '$' && at[1] == '$') {
            at++;
            str_add(&word, at, 1);
            continue;
        } else if (*at != '\0' && !isspace((unsigned char)*at)) {
            str_add(&word, at, 1);
            continue;
        }
        if (word.len > 0)
            list_add(deps, word.data);
        word.len = 0;
        if (*at == '\0')
            break;
    }
    str_free(&word);
    str_free(&text);
}

/* A file changed while the compiler read it: leave no record, so that the next build looks again.
 */
static bool changed_meanwhile(const struct step *step, const struct list *deps)
{
    int cwd_fd = open(step->cwd, O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool changed = false;
    for (size_t i = 0; i < deps->count; i++) {
        struct stat st;
        changed =
            changed || fstatat(cwd_fd, deps->item[i], &st, 0) != 0 ||
            st.st_mtim.tv_sec > step->begun.tv_sec ||
            (st.st_mtim.tv_sec == step->begun.tv_sec && st.st_mtim.tv_nsec > step->begun.tv_nsec);
    }
    if (cwd_fd >= 0)
        close(cwd_fd);
    return changed;
}

/* ---- running
 * -------------------------------------------------------------------------------------- */

static void show_command(const struct step *step)
{
    struct str line = {0};
    str_text(&line, "cd ");
    str_shell(&line, step->cwd);
    str_text(&line, " &&");
    for (size_t i = 0; i < step->argv.count; i++) {
        str_text(&line, " ");
        str_shell(&line, step->argv.item[i]);
    }
    str_text(&line, " -o ");
    str_shell(&line, step->output);
    puts(line.data);
    str_free(&line);
}

static void start_step(struct builder *b, struct step *step)
{
    char *partial = beside(step, ".part");
    struct list argv = {0};
    for (size_t i = 0; i < step->argv.count; i++)
        list_add(&argv, step->argv.item[i]);
    list_add(&argv, "-o");
    list_add(&argv, partial);
    if (isatty(STDERR_FILENO) && getenv("NO_COLOR") == NULL)
        list_add(&argv, "-fdiagnostics-color=always");
    if (!b->common->quiet)
        printf("  %s %s\n", step->what, step->name);
    if (b->common->verbose)
        show_command(step);
    fflush(stdout);
    step->capture = memfd_create("output", MFD_CLOEXEC);
    clock_gettime(CLOCK_REALTIME_COARSE, &step->begun);
    step->pid = fork();
    if (step->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        int null = open("/dev/null", O_RDONLY);
        if (chdir(step->cwd) != 0 || dup2(null, STDIN_FILENO) < 0 ||
            dup2(step->capture, STDOUT_FILENO) < 0 || dup2(step->capture, STDERR_FILENO) < 0)
            _exit(127);
        setenv("PWD", "/proc/self/cwd", 1);
        execvp(argv.item[0], argv.item);
        dprintf(STDERR_FILENO,
                "mirari: cannot run \"%s\": %s; install a C compiler, or name one "
                "in CC\n",
                argv.item[0], strerror(errno));
        _exit(127);
    }
    free_items(&argv);
    free(partial);
}

/* Returns true if the compiler said something. */
static bool show_output(struct builder *b, struct step *step)
{
    bool has_said = false;
    char chunk[4096];
    ssize_t got;
    lseek(step->capture, 0, SEEK_SET);
    while ((got = read(step->capture, chunk, sizeof(chunk))) > 0) {
        /* Editors resolve the relative names in messages by this line. */
        if (!b->named_folder && strcmp(b->common->folder, ".") != 0)
            fprintf(stderr, "mirari: Entering directory '%s'\n", b->common->folder);
        b->named_folder = true;
        has_said = true;
        fwrite(chunk, 1, (size_t)got, stderr);
    }
    close(step->capture);
    return has_said;
}

/* A compiler that was killed, for want of memory perhaps, says nothing itself. */
static void explain_silence(const struct step *step, int status)
{
    if (WIFSIGNALED(status))
        complain("\"%s\" was ended by signal %d (%s) at %s; is there enough memory?",
                 step->argv.item[0], WTERMSIG(status), strsignal(WTERMSIG(status)), step->name);
    else
        complain("\"%s\" failed at %s with status %d and said nothing; see its command with -v",
                 step->argv.item[0], step->name, WEXITSTATUS(status));
}

static void finish_step(struct builder *b, struct step *step, int status)
{
    char *partial = beside(step, ".part"), *record_path = beside(step, ".rec");
    struct list deps = {0};
    bool has_said = show_output(b, step);
    if (step->has_depfile)
        read_depfile(step, &deps);
    unlink(record_path);
    if (status != 0) {
        b->failed++;
        if (!has_said)
            explain_silence(step, status);
        unlink(partial);
    } else if (rename(partial, step->output) != 0) {
        complain("cannot write \"%s\": %s; make room or choose another folder with -o",
                 step->output, strerror(errno));
        b->failed++;
    } else {
        b->made++;
        struct str record = make_record(step, &deps);
        if (!changed_meanwhile(step, &deps))
            file_write_if_changed(record_path, record.data, record.len, NULL);
        str_free(&record);
    }
    free_items(&deps);
    free(partial);
    free(record_path);
}

static void run_steps(struct builder *b, struct step *steps, size_t count)
{
    unsigned running = 0;
    size_t next = 0;
    while (next < count || running > 0) {
        while (next < count && running < b->common->jobs) {
            struct step *step = &steps[next++];
            if (is_current(step))
                continue;
            start_step(b, step);
            if (step->pid < 0) {
                complain("cannot start a compiler: %s; close other programs", strerror(errno));
                b->failed++;
                continue;
            }
            running++;
        }
        if (running == 0)
            break;
        int status;
        pid_t pid = wait(&status);
        for (size_t i = 0; i < next; i++) {
            if (pid > 0 && steps[i].pid == pid) {
                finish_step(b, &steps[i], status);
                steps[i].pid = 0;
                running--;
            }
        }
    }
}

/* ---- what to run
 * ----------------------------------------------------------------------------------- */

static void add_words(struct list *list, const char *words)
{
    char *copy = need_text(words, strlen(words)), *save = NULL;
    for (char *word = strtok_r(copy, " \t\n", &save); word != NULL;
         word = strtok_r(NULL, " \t\n", &save))
        list_add(list, word);
    free(copy);
}

char *find_program(const char *name)
{
    const char *path = getenv("PATH");
    if (strchr(name, '/') != NULL)
        return need_text(name, strlen(name));
    if (path == NULL)
        path = "/usr/bin:/bin";
    while (*path != '\0') {
        size_t len = strcspn(path, ":");
        char *file = need_format("%.*s/%s", (int)len, path, name);
        if (len > 0 && access(file, X_OK) == 0)
            return file;
        free(file);
        path += len + (path[len] == ':');
    }
    return NULL;
}

static int find_compiler(struct builder *b)
{
    const char *cc = is_foreign(b->common->arch) ? CROSS_COMPILER : getenv("CC");
    add_words(&b->compiler, cc != NULL ? cc : "");
    if (b->compiler.count == 0)
        list_add(&b->compiler, "cc");
    b->compiler_path = find_program(b->compiler.item[0]);
    if (b->compiler_path != NULL)
        return 0;
    if (is_foreign(b->common->arch))
        complain("no C compiler for %s; install it: apt-get install gcc-aarch64-linux-gnu",
                 b->common->arch);
    else
        complain("no C compiler \"%s\"; install gcc, or name another in CC", b->compiler.item[0]);
    return EXIT_FAIL;
}

/* The C library of this machine's architecture is Debian's; that of another is where `make
 * musl-aarch64` put it, or there is none, and then the linker says what is missing. */
static void find_musl(struct builder *b)
{
    const char *folder = b->sdk.virt_musl;
    if (!is_foreign(b->common->arch)) {
        b->musl_include = need_text(MIR_MUSL_INCLUDE, strlen(MIR_MUSL_INCLUDE));
        b->musl_lib = path_join(MIR_MUSL_LIB, "libc.a");
    } else if (folder != NULL) {
        b->musl_include = path_join(folder, "include");
        b->musl_lib = path_join(folder, "lib/libc.a");
    }
}

/* What target virt needs besides: the libraries, the headers of the compiler and of musl. */
static int find_virt(struct builder *b)
{
    char line[4096];
    struct list argv = {0};
    if (b->common->asan) {
        complain("--asan needs a process; take -t unix");
        return EXIT_FAIL;
    }
    for (size_t i = 0; i < b->compiler.count; i++)
        list_add(&argv, b->compiler.item[i]);
    list_add(&argv, "-print-file-name=include");
    bool has_include = program_line(argv.item, line, sizeof(line)) && line[0] == '/';
    free_items(&argv);
    b->compiler_include = need_text(line, strlen(line));
    bool is_other = is_foreign(b->common->arch);
    find_musl(b);
    char *library = path_join(b->sdk.virt_libs, "libmirari-virt.a");
    bool has_library = access(library, R_OK) == 0;
    free(library);
    if (!has_include)
        complain("\"%s\" does not tell where its headers are; take gcc or clang: set CC",
                 b->compiler.item[0]);
    else if (!is_other && (access(MIR_MUSL_INCLUDE "/string.h", R_OK) != 0 ||
                           access(MIR_MUSL_LIB "/libc.a", R_OK) != 0))
        complain("no C library for target virt in " MIR_MUSL_INCLUDE
                 "; install it: apt-get install musl-dev");
    else if (!has_library)
        complain(
            "no libmirari-virt.a in %s; run `make%s` in the source tree, or `make install` again",
            b->sdk.virt_libs, is_other ? " virt-aarch64" : "");
    else
        return 0;
    return EXIT_FAIL;
}

/* Injective: every byte that is not a letter, a digit, '-' or '.' becomes _XX. */
static char *object_name(const char *prefix, const char *source)
{
    struct str out = {0};
    str_text(&out, prefix);
    for (const unsigned char *at = (const unsigned char *)source; *at != '\0'; at++) {
        if (isalnum(*at) || *at == '-' || *at == '.')
            str_add(&out, at, 1);
        else
            str_format(&out, "_%02X", *at);
    }
    str_text(&out, ".o");
    return out.data;
}

static void compile_step(struct builder *b, const struct place *place, const char *source,
                         bool is_generated, struct step *step)
{
    const struct manifest *m = b->manifest;
    size_t len = strlen(source);
    bool is_assembly = source[len - 1] == 'S';
    char *object = object_name(is_generated ? "gen-" : "", source);
    *step = (struct step){.what = is_assembly ? "AS" : "CC",
                          .name = source,
                          .cwd = is_generated ? place->gen : m->folder,
                          .output = need_format("%s/.obj/%s", place->gen, object),
                          .has_depfile = true};
    free(object);
    step->base = step->output;
    for (size_t i = 0; i < b->compiler.count; i++)
        list_add(&step->argv, b->compiler.item[i]);
    add_words(&step->argv, "-std=gnu11 -O2 -g -Wall -Wextra -fno-omit-frame-pointer "
                           "-fno-strict-aliasing -fno-common -ffunction-sections -fdata-sections");
    if (is_virt(b->common->target)) {
        add_words(&step->argv,
                  is_foreign(b->common->arch) ? MIR_VIRT_CFLAGS_AARCH64 : MIR_VIRT_CFLAGS);
        list_add(&step->argv, "-isystem");
        list_add(&step->argv, b->compiler_include);
        if (b->musl_include != NULL) {
            list_add(&step->argv, "-isystem");
            list_add(&step->argv, b->musl_include);
        }
    } else {
        add_words(&step->argv, b->common->asan
                                   ? "-fsanitize=address,undefined -DMIR_DEBUG_BUILD=1"
                                   : "-fstack-protector-strong -fstack-clash-protection");
    }
    char *include = need_format("-I%s", b->sdk.include);
    char *map = need_format("-ffile-prefix-map=%s=mirari/include", b->sdk.include);
    char *depfile = beside(step, ".d");
    list_add(&step->argv, include);
    list_add(&step->argv, map);
    list_add(&step->argv, "-ffile-prefix-map=/proc/self/cwd=.");
    if (is_generated && is_assembly)
        list_add(&step->argv, "-I.");
    for (size_t i = 0; i < m->cflags.count && !is_generated; i++)
        list_add(&step->argv, m->cflags.item[i]);
    add_words(&step->argv, "-MMD -MT o -MF");
    list_add(&step->argv, depfile);
    list_add(&step->argv, "-c");
    /* A name may look like an option or, to GCC, like a file of options. */
    char *safe = need_format("%s%s", source[0] == '-' || source[0] == '@' ? "./" : "", source);
    list_add(&step->argv, safe);
    list_add(&step->inputs, b->compiler_path);
    if (is_generated && is_assembly) {
        char *bin = need_format("%.*s.bin", (int)len - 2, source);
        list_add(&step->inputs, bin); /* .incbin is in no depfile */
        free(bin);
    }
    free(safe);
    free(include);
    free(map);
    free(depfile);
}

/* Libraries are named relative to the manifest; the linker runs elsewhere. */
static void add_user_lib(struct step *step, const char *folder, const char *lib)
{
    bool is_search_path = strncmp(lib, "-L", 2) == 0 && lib[2] != '\0';
    if (lib[0] == '-' && !is_search_path) {
        list_add(&step->argv, lib);
        return;
    }
    char *path = path_join(folder, is_search_path ? lib + 2 : lib);
    char *word = need_format("%s%s", is_search_path ? "-L" : "", path);
    list_add(&step->argv, word);
    if (!is_search_path)
        list_add(&step->inputs, path);
    free(word);
    free(path);
}

/* The libraries, and how they are put together. */
static void add_libraries(const struct builder *b, struct step *step)
{
    const char *target = b->common->target;
    bool is_vm = is_virt(target);
    const char *libs = is_vm ? b->sdk.virt_libs : b->common->asan ? b->sdk.asan_libs : b->sdk.libs;
    char *of_target = need_format("%s/libmirari-%s.a", libs, target);
    char *base = need_format("%s/libmirari.a", libs);
    char *layout = need_format("-Wl,-T,%s", b->sdk.virt_layout);
    if (is_vm) {
        add_words(&step->argv,
                  is_foreign(b->common->arch) ? MIR_VIRT_LDFLAGS_AARCH64 : MIR_VIRT_LDFLAGS);
        list_add(&step->argv, layout);
        list_add(&step->inputs, b->sdk.virt_layout);
    }
    list_add(&step->argv, "-Wl,--start-group");
    list_add(&step->argv, of_target);
    list_add(&step->argv, base);
    if (is_vm && b->musl_lib != NULL)
        list_add(&step->argv, b->musl_lib);
    if (is_vm)
        list_add(&step->argv, "-lgcc");
    list_add(&step->argv, "-Wl,--end-group");
    if (strcmp(target, "unix") == 0)
        add_words(&step->argv, "-Wl,--as-needed " MIR_HOST_LIBS);
    list_add(&step->inputs, of_target);
    list_add(&step->inputs, base);
    free(of_target);
    free(base);
    free(layout);
}

/* Runs in the folder of results, so that messages name objects as they lie there. @output is there
 * as well. */
static void link_step(struct builder *b, const struct place *place, const struct step *objects,
                      size_t count, const char *output, struct step *step)
{
    const struct manifest *m = b->manifest;
    bool has_disks = m->disk_count > 0 || m->vm.disks.count > 0;
    bool has_channels = m->channel_count > 0;
    bool has_devices = m->net_count > 0 || has_disks || has_channels || m->vm.has_control;
    *step = (struct step){.what = "LD",
                          .name = place->binary,
                          .cwd = place->gen,
                          .output = path_join(place->gen, output),
                          .base = need_format("%s/.obj/=%s", place->gen, m->name)};
    if (strcmp(output, m->name) != 0) {
        free(step->base);
        step->base = step->output;
    }
    for (size_t i = 0; i < b->compiler.count; i++)
        list_add(&step->argv, b->compiler.item[i]);
    list_add(&step->argv, "-Wl,--gc-sections");
    list_add(&step->argv,
             is_virt(b->common->target) ? "-Wl,--build-id=none" : "-Wl,--build-id=sha1");
    if (is_virt(b->common->target) && has_devices)
        list_add(&step->argv, "-Wl,-u,mir__devices");
    if (is_virt(b->common->target) && has_disks)
        list_add(&step->argv, "-Wl,-u,mir__disks");
    if (is_virt(b->common->target) && m->vm.has_control)
        list_add(&step->argv, "-Wl,-u,mir__virt_control");
    if (is_virt(b->common->target) && has_channels)
        list_add(&step->argv, "-Wl,-u,mir__channels");
    if (b->common->asan)
        list_add(&step->argv, "-fsanitize=address,undefined");
    for (size_t i = 0; i < count; i++) {
        const char *object = objects[i].output + strlen(place->gen) + 1;
        list_add(&step->argv, object);
        list_add(&step->inputs, object);
    }
    char *folder = realpath(m->folder, NULL);
    for (size_t i = 0; i < m->libs.count; i++)
        add_user_lib(step, folder != NULL ? folder : m->folder, m->libs.item[i]);
    free(folder);
    add_libraries(b, step);
    list_add(&step->inputs, b->compiler_path);
}

static int lock_folder(const struct place *place)
{
    char *path = path_join(place->gen, ".mirari");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    free(path);
    if (fd < 0)
        return -1;
    while (flock(fd, LOCK_EX) != 0 && errno == EINTR)
        continue;
    return fd;
}

/* The names of functions in the image @unnamed, as one more object (names.c). */
static void name_step(struct builder *b, const struct place *place, const char *unnamed,
                      struct step *step)
{
    char *names = path_join(place->gen, ".obj/names.s");
    *step = (struct step){.what = "AS",
                          .name = "names of functions",
                          .cwd = place->gen,
                          .output = path_join(place->gen, ".obj/names.o")};
    step->base = step->output;
    for (size_t i = 0; i < b->compiler.count; i++)
        list_add(&step->argv, b->compiler.item[i]);
    list_add(&step->argv, "-c");
    list_add(&step->argv, ".obj/names.s");
    list_add(&step->inputs, ".obj/names.s");
    list_add(&step->inputs, b->compiler_path);
    if (names_write(unnamed, names) != 0)
        b->failed++;
    else
        run_steps(b, step, 1);
    free(names);
}

/* Link @count objects. An image is linked twice: the second time with the names of the functions
 * that the first one has. There is room for two more steps behind the objects. */
static void link_all(struct builder *b, const struct place *place, struct step *steps, size_t count)
{
    if (is_virt(b->common->target)) {
        struct step first;
        link_step(b, place, steps, count, ".obj/unnamed", &first);
        run_steps(b, &first, 1);
        if (b->failed == 0)
            name_step(b, place, first.output, &steps[count++]);
    }
    if (b->failed == 0) {
        link_step(b, place, steps, count, b->manifest->name, &steps[count]);
        run_steps(b, &steps[count], 1);
    }
}

/* Compile all units, then link. Returns 0 or EXIT_FAIL. */
static int make_all(struct builder *b, const struct place *place)
{
    const struct manifest *m = b->manifest;
    size_t count = m->sources.count + place->units.count;
    struct step *steps = need((count + 2) * sizeof(*steps));
    char *objects = path_join(place->gen, ".obj");
    int r = make_folders(objects);
    free(objects);
    if (r != 0) {
        complain("cannot make folders in \"%s\": %s", place->gen, strerror(-r));
        return EXIT_FAIL;
    }
    for (size_t i = 0; i < m->sources.count; i++)
        compile_step(b, place, m->sources.item[i], false, &steps[i]);
    for (size_t i = 0; i < place->units.count; i++)
        compile_step(b, place, place->units.item[i], true, &steps[m->sources.count + i]);
    run_steps(b, steps, count);
    if (b->failed == 0)
        link_all(b, place, steps, count);
    return b->failed == 0 ? 0 : EXIT_FAIL;
}

int build(const struct common *common, const struct manifest *manifest, struct place *place)
{
    struct builder b = {.common = common, .manifest = manifest};
    int r = sdk_find(&b.sdk, common->arch);
    if (r == 0 && common->asan && b.sdk.asan_libs == NULL) {
        complain("--asan needs the source tree of Mirari; an installation has no such libraries");
        r = EXIT_FAIL;
    }
    if (r == 0)
        r = find_compiler(&b);
    if (r == 0 && is_virt(common->target))
        r = find_virt(&b);
    if (r == 0)
        r = configure(common, manifest, place);
    if (r != 0)
        return r;
    int lock = lock_folder(place);
    r = make_all(&b, place);
    if (r == 0 && is_virt(common->target))
        r = pack_image(place->binary);
    if (lock >= 0)
        close(lock);
    if (r != 0)
        complain("%s was not built; correct the errors above", manifest->name);
    else if (!common->quiet)
        printf("%s%s\n", place->binary, b.made == 0 ? " (nothing to do)" : "");
    fflush(stdout);
    return r;
}

int cmd_build(int argc, char **argv)
{
    static const char *const names[] = {"-C",    "-f",      "-t",       "-o",        "-q",
                                        "-j",    "-v",      "--folder", "--file",    "--target",
                                        "--out", "--quiet", "--jobs",   "--verbose", "--asan"};
    struct common common = {0};
    struct manifest manifest;
    struct place place;
    for (int i = 1; i < argc; i++) {
        int r = common_option(&common, argc, argv, &i, "CftoqjvAR");
        if (r < 0)
            return EXIT_USAGE;
        if (r == 0)
            return usage_error("build", argv[i], names, LEN(names));
    }
    int r = common_finish(&common);
    if (r == 0)
        r = manifest_load(common.folder, common.file, common.quiet, &manifest);
    return r == 0 ? build(&common, &manifest, &place) : r;
}

/* Removes the folders that configure marked, and OUT if nothing else is in it. */
int cmd_clean(int argc, char **argv)
{
    static const char *const names[] = {"-C",       "-o",    "-t",       "-q",
                                        "--folder", "--out", "--target", "--quiet"};
    struct common common = {0};
    for (int i = 1; i < argc; i++) {
        int r = common_option(&common, argc, argv, &i, "Ctoq");
        if (r < 0)
            return EXIT_USAGE;
        if (r == 0)
            return usage_error("clean", argv[i], names, LEN(names));
    }
    bool all = common.target == NULL;
    int result = common_finish(&common);
    static const char *const forms[] = {"", "-asan", "-aarch64"};
    for (size_t i = 0; i < LEN(forms) * target_count && result == 0; i++) {
        const char *target = target_names[i / LEN(forms)];
        if (!all && strcmp(target, common.target) != 0)
            continue;
        char *name = need_format("%s%s", target, forms[i % LEN(forms)]);
        char *folder = path_join(common.out, name), *mark = path_join(folder, ".mirari");
        struct stat st;
        if (lstat(folder, &st) == 0 && S_ISDIR(st.st_mode) && access(mark, F_OK) == 0) {
            int r = remove_tree(AT_FDCWD, folder);
            if (r != 0) {
                complain("cannot remove \"%s\": %s; change its permissions", folder, strerror(-r));
                result = EXIT_FAIL;
            } else if (!common.quiet) {
                printf("removed %s\n", folder);
            }
        }
        free(name);
        free(folder);
        free(mark);
    }
    if (result == 0)
        (void)rmdir(common.out);
    return result;
}
