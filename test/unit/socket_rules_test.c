/* SPDX-License-Identifier: ISC */
/* Rules that choose the stack of a socket: what is taken, what is refused and why, who wins. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/socket/rules.c"
#include "test/harness/tap.h"

static struct sock_rules rules;
static char why[256];

static int set(const char *text)
{
    sock_rules_init(&rules);
    why[0] = '\0';
    return sock_rules_add(&rules, text, why, sizeof(why));
}

static bool is_ours(bool is_udp, enum sock_rule_use use, const char *ip, uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (inet_pton(AF_INET, ip, &in.sin_addr) == 1)
        return sock_rules_decide(&rules, is_udp, use, (void *)&in, sizeof(in)) == SOCK_OURS;
    if (inet_pton(AF_INET6, ip, &in6.sin6_addr) != 1)
        abort();
    return sock_rules_decide(&rules, is_udp, use, (void *)&in6, sizeof(in6)) == SOCK_OURS;
}

#define TCP_TO(ip, port)   is_ours(false, SOCK_RULE_DST, ip, port)
#define UDP_TO(ip, port)   is_ours(true, SOCK_RULE_DST, ip, port)
#define TCP_BIND(ip, port) is_ours(false, SOCK_RULE_BIND, ip, port)
#define UDP_BIND(ip, port) is_ours(true, SOCK_RULE_BIND, ip, port)

static void test_without_rules(void)
{
    tap_case("without rules all is ours but loopback");
    check_int(set(""), ==, 0);
    check(TCP_TO("10.1.2.3", 80));
    check(UDP_TO("2001:db8::1", 53));
    check(TCP_BIND("0.0.0.0", 80));
    check(TCP_BIND("::", 80));
    check(!TCP_TO("127.0.0.1", 80));
    check(!UDP_TO("::1", 53));
    check(!TCP_TO("::ffff:127.0.0.53", 53));
    check(!TCP_BIND("127.0.0.1", 80));
    check(sock_rules_initial(&rules, false) == SOCK_OURS);
}

static void test_first_wins(void)
{
    tap_case("the first rule that fits decides");
    check_int(set("tcp dst 10.1.0.0/16 host; tcp dst 10.0.0.0/8 ours; udp dst any:53 host;"
                  " unix host; tcp bind :80 ours; default host"),
              ==, 0);
    check(!TCP_TO("10.1.9.9", 80));
    check(TCP_TO("10.2.9.9", 80));
    check(!TCP_TO("11.0.0.1", 80));
    check(!UDP_TO("10.2.9.9", 80));
    check(TCP_BIND("0.0.0.0", 80));
    check(TCP_BIND("::", 80));
    check(!TCP_BIND("0.0.0.0", 81));
    check(!UDP_BIND("0.0.0.0", 80));
    check(sock_rules_initial(&rules, false) == SOCK_HOST);
    check_int(set("udp host"), ==, 0);
    check(sock_rules_initial(&rules, true) == SOCK_HOST);
    check(sock_rules_initial(&rules, false) == SOCK_OURS);
    check(!UDP_TO("10.0.0.1", 1));
    check(TCP_TO("10.0.0.1", 1));
}

static void test_places(void)
{
    tap_case("places: addresses, prefixes, ports");
    check_int(set("dst 127.0.0.0/8 ours\ninet dst [fd00::/8]:80-90 host;dst fd01::1 host"), ==, 0);
    check(TCP_TO("127.0.0.1", 80));
    check(TCP_TO("::ffff:127.0.0.1", 80));
    check(!TCP_BIND("127.0.0.1", 80));
    check(!TCP_TO("fd12::1", 80) && !TCP_TO("fd12::1", 90));
    check(TCP_TO("fd12::1", 79) && TCP_TO("fd12::1", 91));
    check(!UDP_TO("fd01::1", 7) && UDP_TO("fd01::2", 7));
    check_int(set("tcp dst 10.0.0.1 host; tcp dst 10.0.0.128/25 host; dst 0.0.0.0/0:9 host"), ==,
              0);
    check(!TCP_TO("10.0.0.1", 1) && TCP_TO("10.0.0.2", 1));
    check(!TCP_TO("10.0.0.255", 1) && TCP_TO("10.0.0.127", 1));
    check(!TCP_TO("1.2.3.4", 9) && TCP_TO("2001:db8::9", 9));
    check(UDP_TO("10.0.0.1", 1));
    struct sockaddr other = {.sa_family = AF_UNSPEC};
    check(sock_rules_decide(&rules, false, SOCK_RULE_DST, &other, sizeof(other)) == SOCK_OURS);
}

static void test_refused(void)
{
    tap_case("what is no rule is refused with the reason");
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"tcp", "\"\" is not known"},
        {"tcp dst ours", "\"ours\" is no address"},
        {"tcp dst", "a place is missing"},
        {"tcp dst 10.0.0.0/33 ours", "\"/33\" is no length of a prefix; write 0 to 32"},
        {"tcp dst 10.0.0.0/ ours", "\"/\" is no length"},
        {"tcp dst 10.0.0.1:65536 ours", "\"65536\" is no port"},
        {"tcp dst :9-8 ours", "go backwards"},
        {"tcp dst [fd00::1 ours", "no closing bracket"},
        {"sctp ours", "\"sctp\" is not known"},
        {"tcp dst any theirs", "\"theirs\" is no stack"},
        {"tcp ours udp host", "\"udp\" stands behind the end"},
        {"unix ours", "unix sockets are the host's"},
        {"default", "\"\" is no stack"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check_int(set(cases[i].text), ==, -EINVAL);
        check(strstr(why, cases[i].why) != NULL);
        check_int(rules.count, ==, 0);
    }
    char longest[256];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    check_int(set(longest), ==, -EINVAL);
    check(strstr(why, "too long") != NULL);
}

static void test_limits(void)
{
    tap_case("limits, and all or nothing");
    sock_rules_init(&rules);
    for (int i = 0; i < SOCK_RULES_MAX; i++)
        check_int(sock_rules_add(&rules, "tcp ours", why, sizeof(why)), ==, 0);
    check_int(sock_rules_add(&rules, "tcp ours", why, sizeof(why)), ==, -E2BIG);
    check_int(sock_rules_add(&rules, ";;\n ;default host;", why, sizeof(why)), ==, 0);
    check_int(rules.default_stack, ==, SOCK_HOST);
    check_int(sock_rules_add(&rules, "default ours; bad", why, sizeof(why)), ==, -EINVAL);
    check_int(rules.default_stack, ==, SOCK_HOST); /* all or nothing */
}

int main(void)
{
    tap_begin("socket_rules");
    test_without_rules();
    test_first_wins();
    test_places();
    test_refused();
    test_limits();
    return tap_done();
}
