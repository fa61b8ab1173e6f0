/* SPDX-License-Identifier: ISC */
/* Which name servers the appliance asks.
 *
 *   --dns           these
 *   socket          those of /etc/resolv.conf, with its search domains; without any: 127.0.0.1
 *   user, static    slirp's own, the third address of the network
 *   all others      none here: what DHCP and routers tell the stack
 *
 * The file is read once, before the sandbox closes; a change of it is not seen. Read are the lines
 * "nameserver ADDR", "search DOMAIN..." and "domain DOMAIN", the last of these two winning, as
 * resolv.conf(5) says. An address with a zone (fe80::1%eth0) is left out.
 */
#include <stdio.h>
#include <string.h>

#include "target/unix/internal.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define LOCALHOST   0x7f000001u

static void add_server(struct mir__unix *u, const char *text)
{
    if (u->app.dns_count < MIR_DNS_SERVERS_MAX &&
        mir_ip_parse(text, strlen(text), &u->dns[u->app.dns_count]) == 0)
        u->app.dns_count++;
}

static void set_search(struct mir__unix *u, char *words)
{
    char *save = NULL;
    size_t at = 0;
    u->dns_search[0] = '\0';
    for (char *word = strtok_r(words, " \t", &save); word != NULL;
         word = strtok_r(NULL, " \t", &save)) {
        struct mir_dns_name name;
        size_t len = strlen(word);
        if (at + len + 2 > sizeof u->dns_search || mir_dns_name_parse(word, len, &name) < 0 ||
            name.len == 1)
            continue;
        if (at > 0)
            u->dns_search[at++] = ' ';
        memcpy(u->dns_search + at, word, len + 1);
        at += len;
    }
    u->app.dns_search = u->dns_search;
}

static void read_line(struct mir__unix *u, char *line)
{
    char *save = NULL;
    line[strcspn(line, "#;\r\n")] = '\0';
    const char *key = strtok_r(line, " \t", &save);
    if (key == NULL)
        return;
    if (strcmp(key, "nameserver") == 0) {
        const char *address = strtok_r(NULL, " \t", &save);
        if (address != NULL)
            add_server(u, address);
    } else if (strcmp(key, "search") == 0 || strcmp(key, "domain") == 0) {
        set_search(u, save);
    }
}

static void read_resolv_conf(struct mir__unix *u)
{
    char line[512];
    FILE *file = fopen(RESOLV_CONF, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        read_line(u, line);
    if (file != NULL)
        fclose(file);
    if (u->app.dns_count == 0) {
        u->dns[0] = mir_ip_from_v4(LOCALHOST);
        u->app.dns_count = 1;
    }
}

/* As dev/net/user chooses it. */
static void take_slirp(struct mir__unix *u, const struct mir_net_if_config *config)
{
    uint32_t own = mir_ip_to_v4(&config->ip), gateway = mir_ip_to_v4(&config->gateway);
    uint32_t names = (own & (uint32_t)(UINT64_MAX << (32 - config->prefix_len))) + 3;
    while (names == own || names == gateway)
        names++;
    u->dns[0] = mir_ip_from_v4(names);
    u->app.dns_count = 1;
}

void mir__names_find(struct mir__unix *u)
{
    const struct mir__unix_net *first = &u->nets[0];
    u->app.dns = u->dns;
    if (u->options.dns_count > 0) {
        u->app.dns = u->options.dns;
        u->app.dns_count = u->options.dns_count;
    } else if (u->sandbox_needs & MIR__SANDBOX_SOCKET) {
        read_resolv_conf(u);
    } else if (u->options.net_count > 0 && strcmp(first->kind, "user") == 0 &&
               !first->config.use_dhcp) {
        take_slirp(u, &first->config);
    }
}
