/* SPDX-License-Identifier: ISC */
/* DHCP messages as values. The figure is in the header.
 *
 * Options come from up to three fields: the options field, then file and sname if option 52 says
 * so (RFC 2131 section 4.1). The first occurrence of an option counts; a later one with a valid
 * length is ignored, and one with a wrong length makes the message malformed, so that a message
 * never half works. Lists longer than we keep are cut off.
 *
 * Routes and search domains are joined from all their occurrences before they are read (RFC 3396):
 * servers split them even where they need not. Other options are never longer than one occurrence.
 * Names are kept without compression; a pointer must lead backwards, so reading ends.
 */
#include "lib/wire/dhcp.h"

enum { SNAME_AT = 44, SNAME_LEN = 64, FILE_AT = 108, FILE_LEN = 128, JOINED_MAX = 512 };

/* An option that is put together from its occurrences. */
struct joined {
    uint32_t len; /* above JOINED_MAX: too long, ignored */
    uint8_t data[JOINED_MAX];
};

struct parser {
    struct mir__dhcp *value;
    uint8_t overload;
    struct joined routes;
    struct joined search;
};

int mir__dhcp_next_option(const uint8_t *field, size_t len, size_t *at,
                          struct mir__dhcp_option *option)
{
    size_t i = *at;
    while (i < len && field[i] == MIR__DHCP_OPT_PAD)
        i++;
    if (i == len || field[i] == MIR__DHCP_OPT_END)
        return 0;
    if (len - i < 2 || len - i - 2 < field[i + 1])
        return -MIR_ETRUNCATED;
    *option = (struct mir__dhcp_option){field[i], field[i + 1], field + i + 2};
    *at = i + 2 + option->len;
    return 1;
}

static int take_u32(const struct mir__dhcp_option *option, uint32_t *value)
{
    if (option->len != 4)
        return -MIR_EMALFORMED;
    if (*value == 0)
        *value = mir_get_be32(option->data);
    return 0;
}

static int take_u16(const struct mir__dhcp_option *option, uint16_t *value)
{
    if (option->len != 2)
        return -MIR_EMALFORMED;
    if (*value == 0)
        *value = mir_get_be16(option->data);
    return 0;
}

static int take_u8(const struct mir__dhcp_option *option, uint8_t *value)
{
    if (option->len != 1)
        return -MIR_EMALFORMED;
    if (*value == 0)
        *value = option->data[0];
    return 0;
}

static int take_addrs(const struct mir__dhcp_option *option, uint32_t *addrs, uint8_t *count)
{
    if (option->len == 0 || option->len % 4 != 0)
        return -MIR_EMALFORMED;
    if (*count > 0)
        return 0;
    for (; *count < MIR__DHCP_ADDRS_MAX && *count < option->len / 4; ++*count)
        addrs[*count] = mir_get_be32(option->data + (size_t)4 * *count);
    return 0;
}

/* Texts must not be empty (RFC 2132); longer ones than we keep are cut off. */
static int take_bytes(const struct mir__dhcp_option *option, void *out, uint8_t *len)
{
    if (option->len == 0)
        return -MIR_EMALFORMED;
    if (*len > 0)
        return 0;
    *len = (uint8_t)MIR_MIN(option->len, MIR__DHCP_TEXT_MAX);
    mir_memcpy(out, option->data, *len);
    return 0;
}

static int join(const struct mir__dhcp_option *option, struct joined *joined)
{
    if (joined->len > JOINED_MAX)
        return 0;
    if (joined->len + option->len <= JOINED_MAX)
        mir_memcpy(joined->data + joined->len, option->data, option->len);
    joined->len += option->len;
    return 0;
}

static int take_option(const struct mir__dhcp_option *o, struct parser *p)
{
    struct mir__dhcp *v = p->value;
    switch (o->code) {
    case MIR__DHCP_OPT_SUBNET_MASK:
        return take_u32(o, &v->subnet_mask);
    case MIR__DHCP_OPT_ROUTER:
        return take_addrs(o, v->routers, &v->router_count);
    case MIR__DHCP_OPT_DNS:
        return take_addrs(o, v->dns, &v->dns_count);
    case MIR__DHCP_OPT_HOSTNAME:
        return take_bytes(o, v->hostname, &v->hostname_len);
    case MIR__DHCP_OPT_DOMAIN:
        return take_bytes(o, v->domain, &v->domain_len);
    case MIR__DHCP_OPT_MTU:
        return take_u16(o, &v->mtu);
    case MIR__DHCP_OPT_REQUESTED_IP:
        return take_u32(o, &v->requested_ip);
    case MIR__DHCP_OPT_LEASE:
        return take_u32(o, &v->lease_s);
    case MIR__DHCP_OPT_TYPE:
        return take_u8(o, &v->type);
    case MIR__DHCP_OPT_SERVER_ID:
        return take_u32(o, &v->server_id);
    case MIR__DHCP_OPT_PARAMETERS:
        return take_bytes(o, v->parameters, &v->parameter_count);
    case MIR__DHCP_OPT_MESSAGE:
        return take_bytes(o, v->message, &v->message_len);
    case MIR__DHCP_OPT_MAX_SIZE:
        return take_u16(o, &v->max_size);
    case MIR__DHCP_OPT_T1:
        return take_u32(o, &v->t1_s);
    case MIR__DHCP_OPT_T2:
        return take_u32(o, &v->t2_s);
    case MIR__DHCP_OPT_CLIENT_ID:
        return take_bytes(o, v->client_id, &v->client_id_len);
    case MIR__DHCP_OPT_OVERLOAD:
        return take_u8(o, &p->overload);
    case MIR__DHCP_OPT_SEARCH:
        return join(o, &p->search);
    case MIR__DHCP_OPT_ROUTES:
        return join(o, &p->routes);
    default:
        return 0;
    }
}

static int take_field(const uint8_t *field, size_t len, struct parser *parser)
{
    struct mir__dhcp_option option;
    size_t at = 0;
    int r;
    while ((r = mir__dhcp_next_option(field, len, &at, &option)) > 0) {
        r = take_option(&option, parser);
        if (r < 0)
            return r;
    }
    return r;
}

/* ---- joined options ------------------------------------------------------------------------- */

/* Width, significant octets of the destination, router; again and again (RFC 3442). */
static int take_routes(const struct joined *joined, struct mir__dhcp *v)
{
    uint32_t at = 0;
    if (joined->len > JOINED_MAX)
        return 0;
    while (at < joined->len) {
        uint32_t width = joined->data[at], octets = (width + 7) / 8, dst = 0;
        if (width > 32 || joined->len - at < 1 + octets + 4)
            return -MIR_EMALFORMED;
        for (uint32_t i = 0; i < octets; i++)
            dst |= (uint32_t)joined->data[at + 1 + i] << (24 - 8 * i);
        if (v->route_count < MIR__DHCP_ROUTES_MAX) {
            struct mir__dhcp_route *route = &v->routes[v->route_count++];
            route->dst = width == 0 ? 0 : dst & UINT32_MAX << (32 - width);
            route->prefix_len = width;
            route->gateway = mir_get_be32(joined->data + at + 1 + octets);
        }
        at += 1 + octets + 4;
    }
    return 0;
}

/* One name from *@at on, pointers followed, into [size] bytes. Returns its length; 0: it does not
 * fit, negative: malformed. */
static int take_name(const struct joined *joined, uint32_t *at, uint8_t *out, uint32_t size)
{
    uint32_t here = *at, piece = *at, len = 0;
    bool has_jumped = false, fits = true;
    for (;;) {
        if (here >= joined->len)
            return -MIR_EMALFORMED;
        uint32_t label = joined->data[here];
        if (label >= 0xc0) {
            if (joined->len - here < 2)
                return -MIR_EMALFORMED;
            uint32_t target = mir_get_be16(joined->data + here) & 0x3fffu;
            if (!has_jumped)
                *at = here + 2;
            /* Each piece begins before the last one: this ends. */
            if (target >= piece)
                return -MIR_EMALFORMED;
            has_jumped = true;
            here = piece = target;
            continue;
        }
        if (label > 63 || joined->len - here < label + 1 || len + label + 1 > 255)
            return -MIR_EMALFORMED;
        fits = fits && len + label + 1 <= size;
        if (fits)
            mir_memcpy(out + len, joined->data + here, label + 1);
        len += label + 1;
        here += label + 1;
        if (label == 0)
            break;
    }
    if (!has_jumped)
        *at = here;
    return fits ? (int)len : 0;
}

static int take_search(const struct joined *joined, struct mir__dhcp *v)
{
    uint32_t at = 0;
    if (joined->len > JOINED_MAX)
        return 0;
    while (at < joined->len) {
        int len =
            take_name(joined, &at, v->search + v->search_len, MIR__DHCP_SEARCH_MAX - v->search_len);
        if (len < 0)
            return len;
        v->search_len = (uint8_t)(v->search_len + len);
    }
    mir_memset(v->search + v->search_len, 0, MIR__DHCP_SEARCH_MAX - v->search_len);
    return 0;
}

size_t mir__dhcp_next_domain(const struct mir__dhcp *value, size_t *at, char *text)
{
    size_t len = 0;
    while (*at < value->search_len && value->search[*at] != 0) {
        uint8_t label = value->search[*at];
        if (len > 0)
            text[len++] = '.';
        mir_memcpy(text + len, value->search + *at + 1, label);
        len += label;
        *at += label + 1u;
    }
    *at += *at < value->search_len; /* the zero at the end of the name */
    return len;
}

/* ---- messages ------------------------------------------------------------------------------- */

int mir__dhcp_parse(const uint8_t *msg, size_t len, struct mir__dhcp *value)
{
    struct mir__dhcp v;
    struct parser p = {.value = &v};
    int r = mir__dhcp_check(msg, len);
    if (r < 0)
        return r;
    if (msg[1] != 1 || msg[2] != 6 || msg[0] < 1 || msg[0] > 2)
        return -MIR_EMALFORMED;
    mir_memset(&v, 0, sizeof v);
    v.op = msg[0];
    v.xid = mir__dhcp_xid(msg);
    v.secs = mir_get_be16(msg + 8);
    v.broadcast = (msg[10] & 0x80) != 0;
    v.ciaddr = mir_get_be32(msg + 12);
    v.yiaddr = mir_get_be32(msg + 16);
    v.siaddr = mir_get_be32(msg + 20);
    v.giaddr = mir_get_be32(msg + 24);
    mir_memcpy(v.chaddr, msg + 28, 6);
    r = take_field(msg + MIR__DHCP_FIXED_LEN, len - MIR__DHCP_FIXED_LEN, &p);
    uint8_t overload = p.overload; /* in the fields themselves it has no meaning */
    if (r == 0 && (overload & 1))
        r = take_field(msg + FILE_AT, FILE_LEN, &p);
    if (r == 0 && (overload & 2))
        r = take_field(msg + SNAME_AT, SNAME_LEN, &p);
    if (r == 0)
        r = take_routes(&p.routes, &v);
    if (r == 0)
        r = take_search(&p.search, &v);
    if (r < 0)
        return r;
    if (v.type == 0 || overload > 3)
        return -MIR_EMALFORMED;
    *value = v;
    return 0;
}

/* Where the next option goes; `at` past `end` means that something did not fit. */
struct writer {
    uint8_t *out;
    size_t at;
};

static void put_bytes(struct writer *w, uint8_t code, const void *data, size_t len)
{
    if (len == 0)
        return;
    if (w->at + 2 + len < MIR__DHCP_EMIT_MAX) {
        w->out[w->at] = code;
        w->out[w->at + 1] = (uint8_t)len;
        mir_memcpy(w->out + w->at + 2, data, len);
    }
    w->at += 2 + len;
}

static void put_u32(struct writer *w, uint8_t code, uint32_t value)
{
    uint8_t data[4];
    mir_put_be32(data, value);
    put_bytes(w, code, data, value != 0 ? 4 : 0);
}

static void put_u16(struct writer *w, uint8_t code, uint16_t value)
{
    uint8_t data[2];
    mir_put_be16(data, value);
    put_bytes(w, code, data, value != 0 ? 2 : 0);
}

static void put_addrs(struct writer *w, uint8_t code, const uint32_t *addrs, size_t count)
{
    uint8_t data[4 * MIR__DHCP_ADDRS_MAX];
    for (size_t i = 0; i < count; i++)
        mir_put_be32(data + 4 * i, addrs[i]);
    put_bytes(w, code, data, 4 * count);
}

static void put_routes(struct writer *w, const struct mir__dhcp *v)
{
    uint8_t data[9 * MIR__DHCP_ROUTES_MAX];
    size_t len = 0;
    for (size_t i = 0; i < v->route_count; i++) {
        const struct mir__dhcp_route *route = &v->routes[i];
        data[len++] = (uint8_t)route->prefix_len;
        for (uint32_t bit = 0; bit < route->prefix_len; bit += 8)
            data[len++] = (uint8_t)(route->dst >> (24 - bit));
        mir_put_be32(data + len, route->gateway);
        len += 4;
    }
    put_bytes(w, MIR__DHCP_OPT_ROUTES, data, len);
}

static void put_options(struct writer *w, const struct mir__dhcp *v)
{
    put_bytes(w, MIR__DHCP_OPT_TYPE, &v->type, 1);
    put_bytes(w, MIR__DHCP_OPT_CLIENT_ID, v->client_id, v->client_id_len);
    put_u32(w, MIR__DHCP_OPT_REQUESTED_IP, v->requested_ip);
    put_u32(w, MIR__DHCP_OPT_SERVER_ID, v->server_id);
    put_u32(w, MIR__DHCP_OPT_LEASE, v->lease_s);
    put_u32(w, MIR__DHCP_OPT_T1, v->t1_s);
    put_u32(w, MIR__DHCP_OPT_T2, v->t2_s);
    put_u32(w, MIR__DHCP_OPT_SUBNET_MASK, v->subnet_mask);
    put_addrs(w, MIR__DHCP_OPT_ROUTER, v->routers, v->router_count);
    put_addrs(w, MIR__DHCP_OPT_DNS, v->dns, v->dns_count);
    put_u16(w, MIR__DHCP_OPT_MTU, v->mtu);
    put_u16(w, MIR__DHCP_OPT_MAX_SIZE, v->max_size);
    put_bytes(w, MIR__DHCP_OPT_PARAMETERS, v->parameters, v->parameter_count);
    put_bytes(w, MIR__DHCP_OPT_HOSTNAME, v->hostname, v->hostname_len);
    put_bytes(w, MIR__DHCP_OPT_DOMAIN, v->domain, v->domain_len);
    put_bytes(w, MIR__DHCP_OPT_MESSAGE, v->message, v->message_len);
    put_bytes(w, MIR__DHCP_OPT_SEARCH, v->search, v->search_len);
    put_routes(w, v);
}

size_t mir__dhcp_emit(const struct mir__dhcp *v, uint8_t *out)
{
    struct writer w = {out, MIR__DHCP_FIXED_LEN};
    MIR_ASSERT(v->router_count <= MIR__DHCP_ADDRS_MAX && v->dns_count <= MIR__DHCP_ADDRS_MAX);
    mir_memset(out, 0, MIR__DHCP_EMIT_MAX);
    out[0] = v->op;
    out[1] = 1;
    out[2] = 6;
    mir_put_be32(out + 4, v->xid);
    mir_put_be16(out + 8, v->secs);
    mir_put_be16(out + 10, v->broadcast ? 0x8000 : 0);
    mir_put_be32(out + 12, v->ciaddr);
    mir_put_be32(out + 16, v->yiaddr);
    mir_put_be32(out + 20, v->siaddr);
    mir_put_be32(out + 24, v->giaddr);
    mir_memcpy(out + 28, v->chaddr, 6);
    mir_put_be32(out + 236, 0x63825363);
    put_options(&w, v);
    if (w.at >= MIR__DHCP_EMIT_MAX)
        return 0;
    out[w.at++] = MIR__DHCP_OPT_END;
    return MIR_MAX(w.at, (size_t)MIR__DHCP_MIN_LEN);
}
