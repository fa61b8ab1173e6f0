/* SPDX-License-Identifier: ISC */
/* The command line of an appliance: every option, every kind of mistake. */
#include <stdio.h>
#include <string.h>

#include <mirari/err.h>

#include "lib/app/options.h"
#include "test/harness/tap.h"

static const struct mir_manifest_net two_nets[] = {
    {.name = "front", .mode = "user", .forward = "8080:80,5353:53/udp"},
    {.name = "back", .mode = "tap", .ip = "10.1.0.2/16", .gateway = "10.1.0.1"},
};
static const struct mir_param params[] = {
    {"port", "TCP port", MIR_PARAM_INT, "80"},
    {"greeting", "what is said", MIR_PARAM_STRING, "hello"},
    {"verbose", "say more", MIR_PARAM_BOOL, "false"},
};
static const struct mir_manifest manifest = {
    .name = "test",
    .version = "1.2",
    .memory_mib = 32,
    .nets = two_nets,
    .net_count = 2,
    .params = params,
    .param_count = 3,
};
static const struct mir_manifest bare = {.name = "bare", .version = "0"};

static struct mir__app_options o;

static int parse_with(const struct mir_manifest *m, const char *line)
{
    static char copy[1024];
    const char *argv[80] = {"test"};
    int argc = 1;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word != NULL && argc < 80; word = strtok(NULL, " "))
        argv[argc++] = word;
    return mir__app_options_parse(&o, m, argc, argv);
}

static int parse(const char *line)
{
    return parse_with(&manifest, line);
}

static void check_error(const char *line, const char *expected)
{
    check_int(parse(line), ==, -MIR_EINVAL);
    check_str(o.error, expected);
}

static void test_defaults(void)
{
    tap_case("without options the manifest counts");
    check_int(parse(""), ==, 0);
    check_int(o.net_count, ==, 2);
    check(mir__app_net_is(&o.net[0], "user"));
    check(mir__app_net_is(&o.net[1], "tap"));
    check(!o.net[0].has_ip && o.net[1].has_ip);
    check_int(o.net[1].prefix_len, ==, 16);
    check_int(mir_ip_to_v4(&o.net[1].gateway), ==, 0x0a010001);
    check_int(o.forward_count, ==, 2);
    check_int(o.forward[0].host_port, ==, 8080);
    check_int(o.forward[0].port, ==, 80);
    check(o.forward[1].is_udp);
    check_int(o.memory_mib, ==, 32);
    check_str(o.param_values[1], "hello");
    tap_case("a manifest without anything is fine");
    check_int(parse_with(&bare, ""), ==, 0);
    check_int(o.memory_mib, ==, 256);
}

static void test_networks(void)
{
    tap_case("options about a network, by name and without");
    check_int(parse("--net tap:tap7 --ip=10.0.0.9/24 --gateway 10.0.0.1 --mac 02:00:00:00:00:0A "
                    "--mtu 9000 --host-ip back=10.1.0.9/16 --pcap /tmp/a=b.pcapng "
                    "--fault back=loss=1%,seed=7 --trace back"),
              ==, 0);
    check(mir__app_net_is(&o.net[0], "tap"));
    check_str(o.net[0].ifname, "tap7");
    check_int(mir_ip_to_v4(&o.net[0].ip), ==, 0x0a000009);
    check_int(o.net[0].mac[5], ==, 10);
    check_int(o.net[0].mtu, ==, 9000);
    check(o.net[1].has_host_ip && !o.net[0].has_host_ip);
    check_str(o.net[0].pcap, "/tmp/a=b.pcapng");
    check_str(o.net[1].fault, "loss=1%,seed=7");
    check(o.net[1].is_traced && !o.net[0].is_traced);
    tap_case("mode packet names its interface");
    check_int(parse("--net packet:eth0 --net back=packet:veth-12345678901"), ==, -MIR_EINVAL);
    check_int(parse("--net packet:eth0 --net back=packet:veth-1234567890"), ==, 0);
    check(mir__app_net_is(&o.net[0], "packet"));
    check_str(o.net[0].ifname, "eth0");
    check_str(o.net[1].ifname, "veth-1234567890");
    check_int(parse("--net packet"), ==, -MIR_EINVAL);
    check(strstr(o.error, "packet:IFNAME") != NULL);
    check_int(parse("--net packet:"), ==, -MIR_EINVAL);
    check_int(parse("--net socket:eth0"), ==, -MIR_EINVAL);
    tap_case("a fault specification is not taken for a name");
    check_int(parse("--fault loss=1%"), ==, 0);
    check_str(o.net[0].fault, "loss=1%");
    tap_case("dhcp replaces an address");
    check_int(parse("--ip back=dhcp"), ==, 0);
    check(o.net[1].use_dhcp && !o.net[1].has_ip);
}

static void test_forwards(void)
{
    tap_case("forwards of the command line replace those of the manifest");
    check_int(parse("-p 9000:80 --forward 0.0.0.0:53:53/udp -p=9001:81/tcp"), ==, 0);
    check_int(o.forward_count, ==, 3);
    check_int(mir_ip_to_v4(&o.forward[0].host_ip), ==, 0x7f000001);
    check(mir_ip_is_v4(&o.forward[1].host_ip) && mir_ip_is_any(&o.forward[1].host_ip));
    check(o.forward[1].is_udp && !o.forward[2].is_udp);
    tap_case("addresses of IPv6 stand in brackets");
    check_int(parse("-p [::1]:9000:80 -p [::]:9001:53/udp"), ==, 0);
    check(!mir_ip_is_v4(&o.forward[0].host_ip) && o.forward[0].host_ip.bytes[15] == 1);
    check_int(o.forward[0].host_port, ==, 9000);
    check_int(o.forward[0].port, ==, 80);
    check(!mir_ip_is_v4(&o.forward[1].host_ip) && mir_ip_is_any(&o.forward[1].host_ip));
    check(o.forward[1].is_udp);
    tap_case("those of another network stay");
    check_int(parse("-p back=9000:80"), ==, 0);
    check_int(o.forward_count, ==, 3);
    tap_case("forwards that make no sense are refused");
    const char *const wrong[] = {"80",         "80:",
                                 ":80",        "0:80",
                                 "80:65536",   "a:80:80",
                                 "80:80/x",    "1.2.3.4:80",
                                 "80:80:80",   "::1:80:80",
                                 "[::1]80:80", "[::1]:80",
                                 "[::1:80:80", "[1.2.3.4]:80:80",
                                 "[]:80:80"};
    for (size_t i = 0; i < MIR_ARRAY_LEN(wrong); i++) {
        char line[64];
        snprintf(line, sizeof line, "-p %s", wrong[i]);
        check_int(parse(line), ==, -MIR_EINVAL);
    }
    tap_case("there may be 32, not 33");
    char line[1024] = "";
    for (int i = 0; i < 32; i++)
        snprintf(line + strlen(line), sizeof line - strlen(line), "-p %d:80 ", 2000 + i);
    check_int(parse(line), ==, 0);
    check_int(o.forward_count, ==, 32);
    strcat(line, "-p 3000:80");
    check_int(parse(line), ==, -MIR_EINVAL);
}

static void test_parameters(void)
{
    tap_case("parameters of the manifest");
    check_int(parse("--port 8081 --greeting=a=b --verbose"), ==, 0);
    check_str(o.param_values[0], "8081");
    check_str(o.param_values[1], "a=b");
    check_str(o.param_values[2], "true");
    check_int(parse("--verbose off --port -5"), ==, 0);
    check_str(o.param_values[2], "off");
    check_str(o.param_values[0], "-5");
    tap_case("their types are checked");
    check_error("--port many", "--port: \"many\" is not a whole number");
    check_error("--port 99999999999999999999",
                "--port: \"99999999999999999999\" is not a whole number");
    check_error("--verbose=perhaps", "--verbose: \"perhaps\" is not true or false");
}

static void test_mistakes(void)
{
    tap_case("name servers: up to four addresses");
    check_error("--dns 10.0.0.1,x",
                "--dns: \"x\" is not up to 4 addresses of name servers: ADDR,ADDR");
    check_error("--dns 1.1.1.1,::1,1.1.1.3,1.1.1.4,1.1.1.5",
                "--dns: \"1.1.1.5\" is not up to 4 addresses of name servers: ADDR,ADDR");
    tap_case("unknown options name what is near");
    check_error("--gatway 10.0.0.1", "unknown option --gatway; did you mean --gateway?");
    check_error("--prot 5", "unknown option --prot; did you mean --port?");
    check_error("--zzzzzz", "unknown option --zzzzzz; try --help");
    check_error("file", "unexpected argument \"file\"; try --help");
    check_error("-x", "unknown option -x; try --help");
    tap_case("missing and superfluous values");
    check_error("--ip", "--ip needs a value; try --help");
    check_error("--no-sandbox=1", "--no-sandbox: \"1\" is not expected: it takes no value");
    tap_case("wrong values say what is right");
    check_error("--ip 10.0.0.1",
                "--ip: \"10.0.0.1\" is not an address with prefix length such as 10.0.0.2/24, or "
                "dhcp");
    check_error("--mac 01:00:00:00:00:00",
                "--mac: \"01:00:00:00:00:00\" is not a unicast MAC address such as "
                "02:00:00:00:00:01");
    check_int(parse("--mac 00:00:00:00:00:00"), ==, -MIR_EINVAL);
    check_int(parse("--ip 10.0.0.1/0"), ==, -MIR_EINVAL);
    check_error("--mtu 100", "--mtu: \"100\" is not an MTU of 576 to 65535");
    check_error(
        "--net wifi",
        "--net: \"wifi\" is not a network mode: user, tap, tap:IFNAME, packet:IFNAME, socket");
    check_int(parse("--net tap:abcdefghijklmnop"), ==, -MIR_EINVAL);
    check_int(parse("--memory 1"), ==, -MIR_EINVAL);
    check_int(parse("--spin x"), ==, -MIR_EINVAL);
    tap_case("networks that are not there");
    check_error("--ip side=10.0.0.2/24", "--ip: no network \"side\"; there is: front back");
    check_int(parse_with(&bare, "--ip 10.0.0.2/24"), ==, -MIR_EINVAL);
    check_str(o.error, "--ip: this appliance has no network");
}

static void test_manifest_values(void)
{
    struct mir_manifest_net net = {.name = "net0", .ip = "10.0.0.300/24"};
    struct mir_manifest wrong = {.name = "x", .version = "0", .nets = &net, .net_count = 1};
    tap_case("a wrong value in the manifest is reported as such");
    check_int(parse_with(&wrong, ""), ==, -MIR_EINVAL);
    check(strncmp(o.error, "manifest: ip: \"10.0.0.300/24\"", 29) == 0);
}

static void test_help(void)
{
    char text[8192];
    char small[16];
    tap_case("help lists options and parameters, and is cut, not overrun");
    size_t len = mir__app_options_help(&manifest, text, sizeof text);
    check_int(len, <, sizeof text);
    check(strstr(text, "--no-sandbox") != NULL);
    check(strstr(text, "--greeting VALUE") != NULL);
    check_int(mir__app_options_help(&manifest, small, sizeof small), ==, len);
    check_int(strlen(small), ==, sizeof small - 1);
}

/* Both families, several addresses: the command line replaces each family by itself. */
static void test_addresses(void)
{
    struct mir_manifest_net net = {.name = "net0",
                                   .ip = "10.0.0.2/24, fd00::2/64,fd00::3/64",
                                   .gateway = "10.0.0.1,fe80::1",
                                   .route = "192.0.2.0/24=10.0.0.9",
                                   .ip6 = "static"};
    struct mir_manifest dual = {.name = "dual", .version = "1", .nets = &net, .net_count = 1};
    struct mir_net_if_config config = {0};
    char text[MIR_IP_TEXT_MAX];
    tap_case("lists of addresses in the manifest");
    check_int(parse_with(&dual, ""), ==, 0);
    check_int(o.net[0].address_count, ==, 2);
    check_str(mir_ip_text(&o.net[0].addresses[1].ip, text), "fd00::3");
    check_str(mir_ip_text(&o.net[0].gateway6, text), "fe80::1");
    check_int(o.net[0].route_count, ==, 1);
    check(o.net[0].has_gateway && o.net[0].ip6 == MIR_IP6_STATIC);
    tap_case("IPv6 of the command line replaces that of the manifest, IPv4 stays");
    check_int(parse_with(&dual, "--ip fd01::1/48 --ip fd02::1/48 --gateway ::"), ==, 0);
    check_int(o.net[0].address_count, ==, 2);
    check_str(mir_ip_text(&o.net[0].addresses[0].ip, text), "fd01::1");
    check(o.net[0].has_ip && o.net[0].has_gateway && mir_ip_is_any(&o.net[0].gateway6));
    tap_case("a second IPv4 address adds, dhcp takes their place");
    check_int(parse_with(&dual, "--ip 10.9.0.2/24 --ip 10.8.0.2/24"), ==, 0);
    check_int(mir_ip_to_v4(&o.net[0].ip), ==, 0x0a090002);
    check_int(o.net[0].address_count, ==, 3);
    check_int(parse_with(&dual, "--ip dhcp"), ==, 0);
    check(o.net[0].use_dhcp && !o.net[0].has_ip && o.net[0].address_count == 2);
    tap_case("routes");
    check_int(parse_with(&dual, "--route 2001:db8::/32=fe80::9 --route net0=0.0.0.0/1=10.0.0.7"),
              ==, 0);
    check_int(o.net[0].route_count, ==, 2);
    check_int(o.net[0].routes[0].prefix_len, ==, 32);
    check_int(parse_with(&dual, "--route 2001:db8::/32=10.0.0.1"), ==, -MIR_EINVAL);
    check_int(parse_with(&dual, "--route 10.0.0.0/24"), ==, -MIR_EINVAL);
    tap_case("the mode of IPv6");
    check_int(parse_with(&dual, "--ip6 sometimes"), ==, -MIR_EINVAL);
    check_int(parse_with(&dual, "--ip6 off"), ==, 0);
    check_int(mir__app_net_config(&o.net[0], 1500, &config), ==, -MIR_EINVAL);
    check_int(parse("--ip6 off"), ==, 0);
    check_int(mir__app_net_config(&o.net[0], 1500, &config), ==, 0);
    check_int(config.ip6, ==, MIR_IP6_OFF);
    check_int(parse(""), ==, 0);
    check_int(mir__app_net_config(&o.net[0], 1500, &config), ==, 0);
    check_int(config.ip6, ==, MIR_IP6_AUTO);
    check_int(mir__app_net_config(&o.net[0], 1000, &config), ==, 0);
    check_int(config.ip6, ==, MIR_IP6_OFF);
    tap_case("the test of an address, and those that it gives itself");
    struct mir_manifest_net made_up = {.name = "net0", .acd = "full", .link_local4 = "on"};
    struct mir_manifest alone = {.name = "alone", .version = "1", .nets = &made_up, .net_count = 1};
    check_int(parse_with(&alone, ""), ==, 0);
    check_int(mir__app_net_config(&o.net[0], 1500, &config), ==, 0);
    check(config.acd == MIR_NET_ACD_FULL && config.link_local4);
    check_int(parse_with(&alone, "--acd net0=off --link-local4 off"), ==, 0);
    check_int(mir__app_net_config(&o.net[0], 1500, &config), ==, 0);
    check(config.acd == MIR_NET_ACD_OFF && !config.link_local4);
    check_int(parse_with(&alone, "--acd slow"), ==, -MIR_EINVAL);
    check_int(parse_with(&alone, "--link-local4 maybe"), ==, -MIR_EINVAL);
    check_int(parse(""), ==, 0);
    check_int(mir__app_net_config(&o.net[0], 1500, &config), ==, 0);
    check(config.acd == MIR_NET_ACD_DEFAULT && !config.link_local4);
    tap_case("more addresses than there is room for are refused");
    check_int(parse("--ip fd00::1/64 --ip fd00::2/64 --ip fd00::3/64 --ip fd00::4/64 "
                    "--ip fd00::5/64 --ip fd00::6/64 --ip fd00::7/64 --ip fd00::8/64 "
                    "--ip fd00::9/64"),
              ==, -MIR_EINVAL);
}

static void test_nearest(void)
{
    static const char *const names[] = {"gateway", "ip", "mac", "mtu", "forward"};
    tap_case("nearest names");
    check_str(mir__app_nearest("foward", 6, names, 5), "forward");
    check_str(mir__app_nearest("gatewya", 7, names, 5), "gateway");
    check_str(mir__app_nearest("mtv", 3, names, 5), "mtu");
    check(mir__app_nearest("nothing", 7, names, 5) == NULL);
    check(mir__app_nearest("", 0, names, 5) == NULL);
    check(mir__app_nearest("an-extremely-long-word-beyond-32-bytes", 38, names, 5) == NULL);
}

int main(void)
{
    tap_begin("app_options");
    test_defaults();
    test_networks();
    test_forwards();
    test_parameters();
    test_mistakes();
    test_manifest_values();
    test_help();
    test_addresses();
    test_nearest();
    return tap_done();
}
