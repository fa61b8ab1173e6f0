/* SPDX-License-Identifier: ISC */
/* What a script expects around it: settings made by shell lines, and names that stand for values.
 *
 * The public program hands lines in backquotes to a shell, which sets the TCP of the machine. Here
 * no shell runs. With --read-shell the text is looked through for assignments to settings that the
 * stack has too, and each becomes a flag as of --so_flags:
 *
 *   sysctl -q net.ipv4.tcp_timestamps=0        timestamps=0
 *   set_sysctls.py /proc/sys/.../tcp_ecn=1     ecn=1
 *   tcp_rmem="4096 540000 $((15*1024*1024))"   rcvbuf=15728640
 *
 * A file that ends in .sh, named relative to the script, is looked through likewise. What is not
 * known is passed over, as are lines behind the first event.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/packetdrill/script.h"

#define FILE_MAX ((size_t)64 << 10)
#define PATH_LEN 1024

static const struct {
    const char *name;
    const char *flag;
} known[] = {
    {"tcp_timestamps=", "timestamps"},
    {"tcp_ecn=", "ecn"},
    {"tcp_sack=", "sack"},
    {"tcp_congestion_control=", "cc"},
    {"tcp_fastopen=", "fastopen"},
    {"tcp_fastopen_key=", "fastopen_key"},
};

static void add_flag(struct pd_script *script, const char *flag, const char *value, size_t len)
{
    size_t used = strlen(script->so_flags);
    int n = snprintf(script->so_flags + used, sizeof script->so_flags - used, "%s%s=%.*s",
                     used > 0 ? "," : "", flag, (int)len, value);
    if (n < 0 || (size_t)n >= sizeof script->so_flags - used)
        script->so_flags[used] = '\0'; /* no room: the setting stays as it is */
}

/* The third number, which may be a product in $((...)). */
static void add_rmem(struct pd_script *script, const char *value)
{
    char text[24];
    unsigned long bytes = 1;
    char *end;
    value += strspn(value, "\"");
    for (int i = 0; i < 2; i++) {
        value += strspn(value, "0123456789");
        value += strspn(value, " \t");
    }
    value += strspn(value, "$(");
    do {
        bytes *= strtoul(value, &end, 10);
        value = end + 1;
    } while (*end == '*' && bytes < 1ul << 31);
    if (bytes == 0 || bytes >= 1ul << 31)
        return;
    int n = snprintf(text, sizeof text, "%lu", bytes);
    add_flag(script, "rcvbuf", text, (size_t)n);
}

static void look_through(struct pd_script *script, const char *text)
{
    for (const char *at = strstr(text, "tcp_"); at != NULL; at = strstr(at + 1, "tcp_")) {
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            size_t len = strlen(known[i].name);
            if (strncmp(at, known[i].name, len) == 0)
                add_flag(script, known[i].flag, at + len, strcspn(at + len, " \t\r\n\"'`\\"));
        }
        if (strncmp(at, "tcp_rmem=", 9) == 0)
            add_rmem(script, at + 9);
    }
}

/* "dir/script.pkt" and "../x.sh" are dir/../x.sh. */
static void look_through_file(struct pd_script *script, const char *name, size_t len)
{
    char path[PATH_LEN];
    const char *slash = strrchr(script->path, '/');
    int dir = slash != NULL ? (int)(slash - script->path) + 1 : 0;
    int n = snprintf(path, sizeof path, "%.*s%.*s", dir, script->path, (int)len, name);
    FILE *file = n > 0 && (size_t)n < sizeof path ? fopen(path, "r") : NULL;
    if (file == NULL)
        return;
    char *text = calloc(1, FILE_MAX + 1);
    if (text != NULL && fread(text, 1, FILE_MAX, file) > 0)
        look_through(script, text);
    free(text);
    fclose(file);
}

void pd_settings_take(struct pd_script *script, const char *shell, size_t len)
{
    char *text = strndup(shell, len);
    if (text == NULL)
        return;
    for (const char *word = text; *word != '\0';) {
        size_t space = strspn(word, " \t\r\n\\");
        size_t n = strcspn(word + space, " \t\r\n\\");
        if (n > 3 && word[space] != '/' && strncmp(word + space + n - 3, ".sh", 3) == 0)
            look_through_file(script, word + space, n);
        word += space + n;
    }
    look_through(script, text);
    free(text);
}

/* ---- names ------------------------------------------------------------------------------------
 */

static bool is_word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* The value of the name at the beginning of @word, NULL if it is none. */
static const char *value_of(const struct pd_settings *settings, const char *word, size_t len)
{
    for (uint32_t i = 0; i < settings->defines; i++) {
        const char *define = settings->define[i];
        if (strncmp(define, word, len) == 0 && define[len] == '=')
            return define + len + 1;
    }
    return NULL;
}

char *pd_settings_define(const struct pd_settings *settings, const char *text)
{
    char *out = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&out, &size);
    if (to == NULL)
        return NULL;
    while (*text != '\0') {
        size_t len = 0;
        while (is_word_char(text[len]))
            len++;
        const char *value = len > 0 ? value_of(settings, text, len) : NULL;
        if (value != NULL)
            fputs(value, to);
        else
            fwrite(text, 1, len > 0 ? len : 1, to);
        text += len > 0 ? len : 1;
    }
    fclose(to);
    return out;
}
