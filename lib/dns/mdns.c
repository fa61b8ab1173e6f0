/* SPDX-License-Identifier: ISC */
/* Multicast DNS responder: whose names these are (RFC 6762 sections 8 to 10).
 *
 *   no address --has one--> probing: 3 times "has anybody these names?", 250 ms apart
 *     probing  --nobody objects--> announcing: twice, 1 s apart --> ready
 *     probing  --somebody has one--> another name ("host-2", "Instance (2)"), probing
 *     probing  --somebody else probes too, with greater data--> probing again after 1 s
 *     ready    --somebody answers for a name of ours with other data--> probing
 *     ready    --our address changed--> announcing
 *
 * After 15 conflicts in 10 s it waits 5 s before each further attempt. What is sent and how
 * questions are answered is in mdns_answer.c.
 *
 * Addresses are those that the stack uses as source to the groups 224.0.0.251 and ff02::fb, looked
 * up every few seconds. One link: with several interfaces, that of the route to the group.
 *
 * Not done: asking (a browser), several services, several hosts' names, reverse names.
 */
#include "lib/dns/mdns.h"

#include <mirari/format.h>

#include "lib/dns/internal.h"

#define PROBE_US           (250 * MIR_US_PER_MS)
#define PROBES             3u
#define ANNOUNCEMENTS      2u
#define LOOK_US            (5 * MIR_US_PER_S)
#define CONFLICTS_MAX      15u
#define CONFLICT_WINDOW_US (10 * MIR_US_PER_S)

static const struct mir_ip group4 = {.bytes = {[10] = 0xff, [11] = 0xff, [12] = 224, [15] = 251}};
static const struct mir_ip group6 = {.bytes = {0xff, 0x02, [15] = 0xfb}};

/* ---- names ------------------------------------------------------------------------------------
 */

/* A label from text as it is: dots and blanks are octets of it. */
static void put_label(struct mir_dns_name *name, const char *label)
{
    size_t len = MIR_MIN(mir_str_len(label), 63u);
    name->wire[name->len++] = (uint8_t)len;
    mir_memcpy(name->wire + name->len, label, len);
    name->len = (uint8_t)(name->len + len);
}

static void append(struct mir_dns_name *name, const struct mir_dns_name *end)
{
    mir_memcpy(name->wire + name->len, end->wire, end->len);
    name->len = (uint8_t)(name->len + end->len);
}

/* A label with a number: cut so that both fit. */
static void number_label(char out[64], const char *label, const char *format, uint32_t number)
{
    char suffix[16] = "";
    if (number > 1)
        mir_format(suffix, sizeof suffix, format, number);
    int room = 63 - (int)mir_str_len(suffix);
    mir_format(out, 64, "%.*s%s", room, label, suffix);
}

static void make_names(struct mir_mdns *m)
{
    static const struct mir_dns_name local = {.len = 7, .wire = "\5local"};
    char label[64];
    number_label(label, m->host_label, "-%u", m->host_number);
    m->host.len = 0;
    put_label(&m->host, label);
    append(&m->host, &local);
    if (!m->has_service)
        return;
    number_label(label, m->instance_label, " (%u)", m->instance_number);
    m->instance.len = 0;
    put_label(&m->instance, label);
    append(&m->instance, &m->type);
}

/* ---- states -----------------------------------------------------------------------------------
 */

static void set_timer(struct mir_mdns *m, mir_time_us delay_us)
{
    mir_timer_set(m->stack->loop, &m->timer, mir__mdns_now(m) + delay_us);
}

static void begin_probing(struct mir_mdns *m, mir_time_us delay_us)
{
    m->state = MIR__MDNS_PROBING;
    m->step = 0;
    m->pending = 0;
    mir_timer_cancel(&m->reply_timer);
    make_names(m);
    set_timer(m, delay_us + mir_rng_below(m->rng, (uint32_t)PROBE_US));
}

static mir_time_us conflict_delay(struct mir_mdns *m)
{
    mir_time_us now_us = mir__mdns_now(m);
    if (now_us - m->conflicts_since_us > CONFLICT_WINDOW_US) {
        m->conflicts_since_us = now_us;
        m->recent_conflicts = 0;
    }
    return ++m->recent_conflicts > CONFLICTS_MAX ? LOOK_US : 0;
}

void mir__mdns_conflict(struct mir_mdns *m, bool is_host)
{
    m->stats.conflicts++;
    /* A name that was ours is probed for again as it is: perhaps the other one gives way. */
    if (m->state == MIR__MDNS_PROBING)
        ++*(is_host ? &m->host_number : &m->instance_number);
    begin_probing(m, conflict_delay(m));
}

void mir__mdns_defer(struct mir_mdns *m)
{
    begin_probing(m, MIR_US_PER_S);
}

/* True if one of the addresses is another one than before. */
static bool look_for_addresses(struct mir_mdns *m)
{
    struct mir_ip ip4, ip6;
    if (!mir__dns_source(m->stack, &group4, &ip4) || !mir_ip_is_v4(&ip4))
        ip4 = (struct mir_ip){{0}};
    if (!m->has_group6 || !mir__dns_source(m->stack, &group6, &ip6) || mir_ip_is_v4(&ip6))
        ip6 = (struct mir_ip){{0}};
    bool is_new = !mir_ip_equal(&ip4, &m->ip4) || !mir_ip_equal(&ip6, &m->ip6);
    m->ip4 = ip4;
    m->ip6 = ip6;
    return is_new;
}

static bool has_address(const struct mir_mdns *m)
{
    return mir__mdns_has(m, MIR__MDNS_A) || mir__mdns_has(m, MIR__MDNS_AAAA);
}

/* Joining fails until there is a route: it is tried again with each look. */
static void join_groups(struct mir_mdns *m)
{
    const struct mir_udp_group g4 = {.group = group4}, g6 = {.group = group6};
    int r = mir_udp_join(m->udp, &g4);
    (void)r;
    r = mir_udp_join(m->udp, &g6);
    m->has_group6 = r == 0 || r == -MIR_EEXIST;
}

static void tell_names(struct mir_mdns *m)
{
    char host[MIR_DNS_NAME_TEXT_MAX], label[64] = "";
    if (m->on_names == NULL)
        return;
    if (m->has_service)
        number_label(label, m->instance_label, " (%u)", m->instance_number);
    m->on_names(m->arg, mir_dns_name_text(&m->host, host), label);
}

static uint32_t all_but_nsec(void)
{
    return (1u << MIR__MDNS_NSEC) - 1;
}

static void go_on_probing(struct mir_mdns *m)
{
    if (m->step++ < PROBES) {
        mir__mdns_send_probe(m);
        set_timer(m, PROBE_US);
        return;
    }
    m->state = MIR__MDNS_ANNOUNCING;
    m->step = 0;
    set_timer(m, 0);
    tell_names(m);
}

static void go_on_announcing(struct mir_mdns *m)
{
    mir__mdns_announce(m, all_but_nsec(), false);
    if (++m->step < ANNOUNCEMENTS) {
        set_timer(m, MIR_US_PER_S);
        return;
    }
    m->state = MIR__MDNS_READY;
    set_timer(m, LOOK_US);
}

static void look(struct mir_mdns *m)
{
    join_groups(m);
    bool is_new = look_for_addresses(m);
    if (!has_address(m)) {
        m->state = MIR__MDNS_NO_ADDRESS;
        set_timer(m, PROBE_US);
    } else if (m->state == MIR__MDNS_NO_ADDRESS) {
        begin_probing(m, 0);
    } else if (is_new) {
        m->state = MIR__MDNS_ANNOUNCING;
        m->step = 0;
        set_timer(m, 0);
    } else {
        set_timer(m, LOOK_US);
    }
}

static void on_timer(void *arg)
{
    struct mir_mdns *m = arg;
    if (m->state == MIR__MDNS_PROBING)
        go_on_probing(m);
    else if (m->state == MIR__MDNS_ANNOUNCING)
        go_on_announcing(m);
    else
        look(m);
}

static void on_udp(struct mir_udp *udp, const struct mir_udp_meta *meta, struct mir_buf *buf_given,
                   void *arg)
{
    struct mir_mdns *m = arg;
    uint32_t len = mir_buf_total(buf_given);
    (void)udp;
    if (len <= sizeof m->in && mir_buf_copy_out(buf_given, 0, m->in, len) == 0)
        mir__mdns_take(m, meta, m->in, len);
    else
        m->stats.malformed++;
    mir_buf_release(buf_given);
}

/* ---- open and close ---------------------------------------------------------------------------
 */

static int set_service(struct mir_mdns *m, const struct mir_mdns_config *config)
{
    char text[128];
    const char *instance = config->instance != NULL ? config->instance : config->host;
    size_t len = mir_format(text, sizeof text, "%s.local", config->type);
    if (len >= sizeof text || mir_dns_name_parse(text, len, &m->type) < 0 || config->port == 0 ||
        mir_str_len(instance) == 0 || mir_str_len(instance) > 63)
        return -MIR_EINVAL;
    mir_format(m->instance_label, sizeof m->instance_label, "%s", instance);
    static const char meta[] = "_services._dns-sd._udp.local";
    int r = mir_dns_name_parse(meta, sizeof meta - 1, &m->meta);
    size_t txt_len = config->txt != NULL ? mir_str_len(config->txt) : 0;
    if (txt_len > 255)
        return -MIR_EINVAL;
    m->txt[0] = (uint8_t)txt_len; /* no text is one empty string: RFC 6763 section 6.1 */
    if (txt_len > 0)
        mir_memcpy(m->txt + 1, config->txt, MIR_MIN(txt_len, sizeof m->txt - 1));
    m->txt_len = (uint16_t)(1 + txt_len);
    m->port = config->port;
    m->has_service = true;
    return r;
}

static int open_socket(struct mir_mdns *m)
{
    const struct mir_udp_config config = {
        .local = {.port = MIR__MDNS_PORT}, .handler = on_udp, .arg = m, .reuse_addr = true};
    int r = mir_udp_open_config(m->stack, &config, &m->udp);
    if (r < 0)
        return r;
    /* RFC 6762 section 11: so that others see it has not been routed. */
    r = mir_udp_set_option(m->udp, MIR_UDP_GROUP_TTL, 255);
    if (r == 0)
        r = mir_udp_set_option(m->udp, MIR_UDP_TTL, 255);
    if (r < 0)
        mir_udp_close(m->udp);
    return r;
}

int mir_mdns_open(const struct mir_mdns_config *config, struct mir_mdns **out)
{
    struct mir_io_page *page;
    size_t host_len = mir_str_len(config->host);
    if (host_len == 0 || host_len > 63)
        return -MIR_EINVAL;
    int r = mir_page_alloc(config->stack->pages, sizeof(struct mir_mdns), MIR_PAGE_ZERO, &page);
    if (r < 0)
        return r;
    struct mir_mdns *m = (struct mir_mdns *)(void *)page->base;
    m->page = page;
    m->stack = config->stack;
    m->rng = config->rng;
    m->on_names = config->on_names;
    m->arg = config->arg;
    m->host_number = m->instance_number = 1;
    mir_format(m->host_label, sizeof m->host_label, "%s", config->host);
    mir_timer_init(&m->timer, on_timer, m);
    mir_timer_init(&m->reply_timer, mir__mdns_on_reply_timer, m);
    if (config->type != NULL)
        r = set_service(m, config);
    if (r == 0)
        r = open_socket(m);
    if (r < 0) {
        mir_page_release(page);
        return r;
    }
    make_names(m);
    set_timer(m, 0);
    *out = m;
    return 0;
}

void mir_mdns_close(struct mir_mdns *m)
{
    if (m->state >= MIR__MDNS_ANNOUNCING)
        mir__mdns_announce(m, all_but_nsec() & ~(1u << MIR__MDNS_META), true);
    mir_timer_cancel(&m->timer);
    mir_timer_cancel(&m->reply_timer);
    mir_udp_close(m->udp);
    mir_page_release(m->page);
}

void mir_mdns_get_stats(const struct mir_mdns *m, struct mir_mdns_stats *stats)
{
    *stats = m->stats;
}
