/* SPDX-License-Identifier: ISC */
/* Name servers and domains that the network told (lib/net/dnsinfo.c). */
#include <mirari/format.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "test/harness/tap.h"
#include "test/harness/testdev.h"

static struct testbed bed;

static void tell(enum mir__dnsinfo_origin origin, const char *text, mir_time_us lifetime_us)
{
    struct mir_ip ip;
    check_int(mir_ip_parse(text, strlen(text), &ip), ==, 0);
    mir__dnsinfo_server(&bed.net->ifaces[0], origin, &ip, lifetime_us);
}

static void tell_domain(enum mir__dnsinfo_origin origin, const char *text, mir_time_us lifetime_us)
{
    mir__dnsinfo_domain(&bed.net->ifaces[0], origin, text, strlen(text), lifetime_us);
}

/* The servers as one line. */
static const char *servers(size_t max)
{
    static char line[400];
    struct mir_ip ip[16];
    char text[MIR_IP_TEXT_MAX];
    size_t count = mir_net_dns_servers(bed.net, ip, max);
    line[0] = 0;
    for (size_t i = 0; i < count; i++) {
        strcat(line, i > 0 ? " " : "");
        strcat(line, mir_ip_text(&ip[i], text));
    }
    return line;
}

static const char *domains(void)
{
    static char line[2000];
    char text[16][MIR_NET_DNS_DOMAIN_MAX];
    size_t count = mir_net_dns_domains(bed.net, text, 16);
    line[0] = 0;
    for (size_t i = 0; i < count; i++) {
        strcat(line, i > 0 ? " " : "");
        strcat(line, text[i]);
    }
    return line;
}

static void test_servers(void)
{
    tap_case("DHCP comes before advertisements, each in the order told, each once");
    check_str(servers(16), "");
    tell(MIR__DNSINFO_RA, "fe80::1", MIR_TIME_NEVER);
    tell(MIR__DNSINFO_RA, "2001:db8::53", 60 * MIR_US_PER_S);
    tell(MIR__DNSINFO_DHCP4, "10.0.0.53", 100 * MIR_US_PER_S);
    tell(MIR__DNSINFO_DHCP6, "2001:db8::53", 100 * MIR_US_PER_S);
    check_str(servers(16), "10.0.0.53 2001:db8::53 fe80::1");
    check_str(servers(1), "10.0.0.53");
    tap_case("what cannot be a server is ignored");
    tell(MIR__DNSINFO_RA, "ff02::1", MIR_TIME_NEVER);
    tell(MIR__DNSINFO_RA, "::", MIR_TIME_NEVER);
    tell(MIR__DNSINFO_RA, "::1", MIR_TIME_NEVER);
    tell(MIR__DNSINFO_DHCP4, "127.0.0.1", MIR_TIME_NEVER);
    tell(MIR__DNSINFO_DHCP4, "0.0.0.0", MIR_TIME_NEVER);
    tell(MIR__DNSINFO_DHCP4, "255.255.255.255", MIR_TIME_NEVER);
    check_str(servers(16), "10.0.0.53 2001:db8::53 fe80::1");
    tap_case("a lifetime ends; a repeated one begins anew; lifetime 0 removes");
    testbed_advance(&bed, 50 * MIR_US_PER_S);
    tell(MIR__DNSINFO_DHCP4, "10.0.0.53", 100 * MIR_US_PER_S);
    testbed_advance(&bed, 60 * MIR_US_PER_S);
    check_str(servers(16), "10.0.0.53 fe80::1");
    tell(MIR__DNSINFO_RA, "fe80::1", 0);
    check_str(servers(16), "10.0.0.53");
    mir__dnsinfo_forget(&bed.net->ifaces[0], MIR__DNSINFO_DHCP4);
    check_str(servers(16), "");
    tap_case("a flood of advertised servers: three are kept, those that live longest; DHCP stays");
    tell(MIR__DNSINFO_DHCP4, "10.0.0.53", MIR_TIME_NEVER);
    for (unsigned i = 1; i < 200; i++) {
        char text[40];
        mir_format(text, sizeof text, "2001:db8::%x", i);
        tell(MIR__DNSINFO_RA, text, i * MIR_US_PER_S);
    }
    check_str(servers(16), "10.0.0.53 2001:db8::c5 2001:db8::c6 2001:db8::c7");
    tell(MIR__DNSINFO_RA, "2001:db8::1", 100 * MIR_US_PER_S);
    check_str(servers(16), "10.0.0.53 2001:db8::c5 2001:db8::c6 2001:db8::c7");
}

static void test_domains(void)
{
    tap_case("domains: in order of origin, with lifetimes");
    tell_domain(MIR__DNSINFO_RA, "example.org", 10 * MIR_US_PER_S);
    tell_domain(MIR__DNSINFO_DHCP4, "lab.example.com.", MIR_TIME_NEVER);
    tell_domain(MIR__DNSINFO_RA, "example.org", 20 * MIR_US_PER_S);
    check_str(domains(), "lab.example.com example.org");
    testbed_advance(&bed, 15 * MIR_US_PER_S);
    check_str(domains(), "lab.example.com example.org");
    testbed_advance(&bed, 10 * MIR_US_PER_S);
    check_str(domains(), "lab.example.com");
    tap_case("what is no name is ignored");
    const char *bad[] = {"", ".", "a..b", ".a", "a b", "a\nb", "a\"b", "\xc3\xa4"};
    for (size_t i = 0; i < MIR_ARRAY_LEN(bad); i++)
        tell_domain(MIR__DNSINFO_RA, bad[i], MIR_TIME_NEVER);
    char text[300];
    memset(text, 'a', sizeof text);
    mir__dnsinfo_domain(&bed.net->ifaces[0], MIR__DNSINFO_RA, text, 64, MIR_TIME_NEVER);
    mir__dnsinfo_domain(&bed.net->ifaces[0], MIR__DNSINFO_RA, text, 254, MIR_TIME_NEVER);
    check_str(domains(), "lab.example.com");
    tap_case("two of each origin are kept");
    tell_domain(MIR__DNSINFO_RA, "a", MIR_TIME_NEVER);
    tell_domain(MIR__DNSINFO_RA, "b", MIR_TIME_NEVER);
    tell_domain(MIR__DNSINFO_RA, "c", MIR_TIME_NEVER);
    check_str(domains(), "lab.example.com a b");
    tell_domain(MIR__DNSINFO_RA, "a", 0);
    check_str(domains(), "lab.example.com b");
    mir__dnsinfo_forget(&bed.net->ifaces[0], MIR__DNSINFO_RA);
    check_str(domains(), "lab.example.com");
}

int main(void)
{
    tap_begin("net_dnsinfo");
    testbed_init(&bed, 1, 4 << 20, 0);
    testbed_open(&bed, NULL);
    test_servers();
    test_domains();
    testbed_close(&bed);
    return tap_done();
}
