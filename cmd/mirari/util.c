/* SPDX-License-Identifier: ISC */
/* Growing texts, files, messages and paths for the tool.
 *
 * Texts that come from outside (names of files, values of a manifest) reach four languages: C,
 * JSON, the shell and the terminal. There is one quoting function for each, and no other way is
 * used.
 *
 * Files that others read are written to a temporary name in the same folder and renamed, so a
 * reader sees the old or the new content, and are left alone when the content is the same, so that
 * their time stamp tells when they changed.
 *
 * Memory: running out of it ends the program with a message.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/mirari/tool.h"

__attribute__((noreturn)) static void out_of_memory(void)
{
    fputs("mirari: out of memory; close other programs and try again\n", stderr);
    exit(EXIT_FAIL);
}

static void *grown(void *old, size_t size)
{
    void *memory = realloc(old, size);
    if (memory == NULL)
        out_of_memory();
    return memory;
}

void *need(size_t size)
{
    void *memory = grown(NULL, size == 0 ? 1 : size);
    memset(memory, 0, size);
    return memory;
}

char *need_text(const char *text, size_t len)
{
    char *copy = need(len + 1);
    memcpy(copy, text, len);
    return copy;
}

char *need_format(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = NULL;
    int len = vasprintf(&text, fmt, args);
    va_end(args);
    if (len < 0)
        out_of_memory();
    return text;
}

void str_add(struct str *str, const void *data, size_t len)
{
    if (str->size - str->len < len + 1) {
        str->size = (str->len + len + 1) * 2;
        str->data = grown(str->data, str->size);
    }
    if (len > 0)
        memcpy(str->data + str->len, data, len);
    str->len += len;
    str->data[str->len] = '\0';
}

void str_text(struct str *str, const char *text)
{
    str_add(str, text, strlen(text));
}

void str_format(struct str *str, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = NULL;
    int len = vasprintf(&text, fmt, args);
    va_end(args);
    if (len < 0)
        out_of_memory();
    str_add(str, text, (size_t)len);
    free(text);
}

/* Octal escapes of three digits cannot run into the next character, and '?' is escaped because of
 * trigraphs. */
void str_c_literal(struct str *str, const char *text)
{
    if (text == NULL) {
        str_text(str, "NULL");
        return;
    }
    str_text(str, "\"");
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\' || *at == '?')
            str_format(str, "\\%c", *at);
        else if (*at < 0x20 || *at >= 0x7f)
            str_format(str, "\\%03o", *at);
        else
            str_add(str, at, 1);
    }
    str_text(str, "\"");
}

/* Length of the well-formed UTF-8 sequence at @at, or 0. */
static size_t utf8_len(const unsigned char *at)
{
    size_t len = at[0] < 0x80 ? 1 : (at[0] & 0xe0) == 0xc0 ? 2 : (at[0] & 0xf0) == 0xe0 ? 3 : 0;
    if ((at[0] & 0xf8) == 0xf0 && at[0] < 0xf5)
        len = 4;
    if (len == 2 && at[0] < 0xc2)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    if (len == 3 && ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] >= 0xa0)))
        return 0;
    if (len == 4 && ((at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] >= 0x90)))
        return 0;
    return len;
}

void str_json(struct str *str, const char *text)
{
    if (text == NULL) {
        str_text(str, "null");
        return;
    }
    str_text(str, "\"");
    const unsigned char *at = (const unsigned char *)text;
    while (*at != '\0') {
        size_t len = utf8_len(at);
        if (*at == '"' || *at == '\\')
            str_format(str, "\\%c", *at);
        else if (*at < 0x20 || *at == 0x7f)
            str_format(str, "\\u%04x", *at);
        else if (len == 0)
            str_text(str, "\\ufffd"); /* JSON has no bytes, only characters */
        else
            str_add(str, at, len);
        at += len == 0 ? 1 : len;
    }
    str_text(str, "\"");
}

void str_shell(struct str *str, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./:,=+@%";
    if (*text != '\0' && strspn(text, plain) == strlen(text)) {
        str_text(str, text);
        return;
    }
    str_text(str, "'");
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            str_text(str, "'\\''");
        else
            str_add(str, text, 1);
    }
    str_text(str, "'");
}

void str_visible(struct str *str, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    while (*at != '\0') {
        size_t len = utf8_len(at);
        /* C1 controls (0xc2 0x80 .. 0x9f) act on terminals as well. */
        bool is_control = *at < 0x20 || *at == 0x7f || (*at == 0xc2 && at[1] < 0xa0);
        if (len == 0 || is_control) {
            str_format(str, "\\x%02x", *at);
            at++;
        } else {
            str_add(str, at, len);
            at += len;
        }
    }
}

void str_free(struct str *str)
{
    free(str->data);
    *str = (struct str){0};
}

void list_add(struct list *list, const char *text)
{
    if (list->count + 2 > list->size) {
        list->size = list->size * 2 + 8;
        list->item = grown(list->item, list->size * sizeof(list->item[0]));
    }
    list->item[list->count++] = need_text(text, strlen(text));
    list->item[list->count] = NULL;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void list_sort(struct list *list)
{
    if (list->count > 1)
        qsort(list->item, list->count, sizeof(list->item[0]), by_bytes);
}

void complain(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = NULL;
    int len = vasprintf(&text, fmt, args);
    va_end(args);
    if (len < 0)
        return;
    struct str out = {0};
    str_text(&out, "mirari: ");
    str_visible(&out, text);
    str_text(&out, "\n");
    fputs(out.data, stderr);
    str_free(&out);
    free(text);
}

char *path_join(const char *folder, const char *name)
{
    size_t len = strlen(folder);
    if (strcmp(folder, ".") == 0 || name[0] == '/')
        return need_text(name, strlen(name));
    return need_format("%s%s%s", folder, len > 0 && folder[len - 1] == '/' ? "" : "/", name);
}

int file_read(const char *path, size_t limit, struct str *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    struct stat st;
    int result = 0;
    if (fstat(fd, &st) != 0)
        result = -errno;
    else if (S_ISDIR(st.st_mode))
        result = -EISDIR;
    else if (!S_ISREG(st.st_mode))
        result = -EINVAL;
    str_add(out, "", 0);
    while (result == 0) {
        char chunk[16384];
        ssize_t got = read(fd, chunk, sizeof(chunk));
        if (got == 0)
            break;
        if (got < 0)
            result = errno == EINTR ? 0 : -errno;
        else if (out->len + (size_t)got > limit)
            result = -EFBIG;
        else
            str_add(out, chunk, (size_t)got);
    }
    close(fd);
    return result;
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t put = write(fd, data, len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        data += put;
        len -= (size_t)put;
    }
    return 0;
}

int file_write_if_changed(const char *path, const void *data, size_t len, bool *changed)
{
    struct str old = {0};
    int result = file_read(path, len, &old);
    bool is_same = result == 0 && old.len == len && memcmp(old.data, data, len) == 0;
    str_free(&old);
    if (changed != NULL)
        *changed = !is_same;
    if (is_same)
        return 0;
    char *temporary = need_format("%s.new-%d", path, (int)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) {
        result = -errno;
    } else {
        result = write_all(fd, data, len);
        if (close(fd) != 0 && result == 0)
            result = -errno;
        if (result == 0 && rename(temporary, path) != 0)
            result = -errno;
        if (result != 0)
            unlink(temporary);
    }
    free(temporary);
    return result;
}

int make_folders(const char *path)
{
    char *copy = need_text(path, strlen(path));
    int result = 0;
    for (char *at = copy + 1;; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        char end = *at;
        *at = '\0';
        struct stat st;
        if (mkdir(copy, 0777) != 0 && errno != EEXIST)
            result = -errno;
        else if (stat(copy, &st) != 0)
            result = -errno;
        else if (!S_ISDIR(st.st_mode))
            result = -ENOTDIR;
        *at = end;
        if (end == '\0' || result != 0)
            break;
    }
    free(copy);
    return result;
}

int remove_tree(int parent_fd, const char *name)
{
    if (unlinkat(parent_fd, name, 0) == 0)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        close(fd);
        return -ENOMEM;
    }
    int result = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int r = remove_tree(dirfd(dir), entry->d_name);
        if (r != 0 && r != -ENOENT)
            result = r;
    }
    closedir(dir);
    if (result == 0 && unlinkat(parent_fd, name, AT_REMOVEDIR) != 0)
        result = -errno;
    return result;
}

bool program_line(char *const argv[], char *out, size_t size)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return false;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, STDIN_FILENO);
        dup2(fds[1], STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execvp(argv[0], argv);
        _exit(127);
    }
    close(fds[1]);
    size_t len = 0;
    char byte;
    bool in_line = true;
    while (read(fds[0], &byte, 1) == 1) {
        in_line = in_line && byte != '\n';
        if (in_line && len + 1 < size)
            out[len++] = byte;
    }
    out[len] = '\0';
    close(fds[0]);
    int status = -1;
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static bool is_there(const char *folder, const char *name)
{
    char *path = path_join(folder, name);
    bool found = access(path, F_OK) == 0;
    free(path);
    return found;
}

/* In the tree: FOLDER/mirari with FOLDER/sdk-root, which names the root of the sources.
 * Installed: PREFIX/bin/mirari with PREFIX/include/mirari and PREFIX/lib/mirari. */
/* Folders of target virt: those of another architecture have its name behind theirs. */
static void find_virt(struct sdk *sdk, const char *libs, const char *tree, const char *arch)
{
    bool is_other = is_foreign(arch);
    sdk->virt_libs = need_format("%s/virt%s%s", libs, is_other ? "-" : "", is_other ? arch : "");
    sdk->virt_layout = tree != NULL ? need_format("%s/target/virt/%s/image.lds", tree, arch)
                                    : path_join(sdk->virt_libs, "image.lds");
    char *musl = need_format("%s/musl-%s", libs, arch);
    sdk->virt_musl = is_there(musl, "lib/libc.a") ? musl : NULL;
    if (sdk->virt_musl == NULL)
        free(musl);
}

int sdk_find(struct sdk *sdk, const char *arch)
{
    char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (len <= 0) {
        complain("cannot tell where this program is: %s; mount /proc", strerror(errno));
        return EXIT_FAIL;
    }
    self[len] = '\0';
    *strrchr(self, '/') = '\0';
    struct str root = {0};
    char *mark = path_join(self, "sdk-root");
    bool in_tree = file_read(mark, 4096, &root) == 0 && root.len > 1;
    free(mark);
    if (in_tree) {
        root.data[root.len - 1] = '\0';
        *sdk = (struct sdk){.include = path_join(root.data, "include"),
                            .templates = path_join(root.data, "tools/templates"),
                            .libs = path_join(self, "host"),
                            .asan_libs = path_join(self, "asan")};
        find_virt(sdk, self, root.data, arch != NULL ? arch : NATIVE_ARCH);
    } else {
        char *slash = strrchr(self, '/');
        if (slash != NULL)
            *slash = '\0';
        *sdk = (struct sdk){.include = path_join(self, "include"),
                            .templates = path_join(self, "share/mirari/templates"),
                            .libs = path_join(self, "lib/mirari")};
        find_virt(sdk, sdk->libs, NULL, arch != NULL ? arch : NATIVE_ARCH);
    }
    str_free(&root);
    if (!is_there(sdk->include, "mirari/app.h") || !is_there(sdk->libs, "libmirari.a")) {
        complain("no headers in %s or no libmirari.a in %s; run `make` in the source tree, or "
                 "`make install` again",
                 sdk->include, sdk->libs);
        return EXIT_FAIL;
    }
    return 0;
}
