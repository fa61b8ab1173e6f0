/* SPDX-License-Identifier: ISC */
/* Answers from a store: encodings, conditions, ranges.
 *
 * A representation has its header lines ready; what is added are the status line, Content-Length
 * and for ranges Content-Range. A small body is copied behind them and leaves in the same send, a
 * larger one goes as views of the store's pages, which are never copied, as TCP takes them.
 *
 * Conditions are evaluated in the order of RFC 9110 section 13.2.2, on the representation that the
 * request's Accept-Encoding selects; ranges are ranges of that representation.
 */
#include "lib/http/internal.h"

#define INDEX_KEY     "index.html"
#define NOT_FOUND_KEY "404.html"
/** A view may overshoot the room by so much, or small windows would make small segments. */
#define VIEW_MIN (16u << 10)

/* ---- fields ------------------------------------------------------------------------------------
 */

struct mir_http_text mir__http_single(const struct mir_http_exchange *exchange,
                                      enum mir__http_known known)
{
    const struct mir__http_request *request = &exchange->request;
    const struct mir__http_field *field = mir__http_known(request, known);
    if (field == NULL)
        return (struct mir_http_text){NULL, 0};
    for (const struct mir__http_field *f = field + 1; f < request->field + request->field_count;
         f++) {
        if (f->known == known)
            return (struct mir_http_text){NULL, 0};
    }
    return (struct mir_http_text){(const char *)exchange->head.data + field->value_at,
                                  field->value_len};
}

struct mir_http_text mir__http_list(const struct mir_http_exchange *exchange,
                                    enum mir__http_known known)
{
    struct mir_http_text one = mir__http_single(exchange, known);
    const struct mir__http_request *request = &exchange->request;
    if (one.text != NULL || !(request->seen & 1u << known))
        return one;
    struct mir__http_text_out out = mir__http_text_begin(exchange->conn->server);
    const char *from = out.at;
    for (uint32_t i = 0; i < request->field_count; i++) {
        const struct mir__http_field *field = &request->field[i];
        if (field->known != known)
            continue;
        mir__http_put(&out, exchange->head.data + field->value_at, field->value_len);
        mir__http_put(&out, ",", 1);
    }
    return (struct mir_http_text){from, (uint32_t)(out.at - from)};
}

/* ---- representation -----------------------------------------------------------------------------
 */

static const struct mir_kv_body *choose_body(const struct mir_http_exchange *exchange,
                                             const struct mir_kv_entry *entry)
{
    unsigned available = 0;
    for (unsigned i = 0; i < MIR_KV_ENCODINGS; i++)
        available |= entry->body[i].page != NULL ? 1u << i : 0;
    if (available == 1u << MIR_KV_IDENTITY)
        return &entry->body[MIR_KV_IDENTITY];
    struct mir_http_text accept = mir__http_list(exchange, MIR__HTTP_ACCEPT_ENCODING);
    enum mir_kv_encoding encoding = mir__http_choose_encoding(accept.text, accept.len, available);
    /* A store without the plain form has at least one other. */
    while (entry->body[encoding].page == NULL && encoding + 1 < MIR_KV_ENCODINGS)
        encoding++;
    return &entry->body[encoding];
}

/* Is the value newer than the date in that field? *valid: there is a usable date on both sides. */
static bool is_newer(const struct mir_http_exchange *exchange, enum mir__http_known known,
                     bool *valid)
{
    struct mir_http_text text = mir__http_single(exchange, known);
    uint64_t date;
    *valid = text.text != NULL && exchange->entry->modified_us != 0 &&
             mir__http_date_parse(text.text, text.len, exchange->conn->server->unix_s, &date) == 0;
    return *valid && exchange->entry->modified_us / MIR_US_PER_S > date;
}

/* 0, or the status that the conditions demand instead of 200. */
static unsigned check_conditions(const struct mir_http_exchange *exchange)
{
    const unsigned conditions = 1u << MIR__HTTP_IF_MATCH | 1u << MIR__HTTP_IF_NONE_MATCH |
                                1u << MIR__HTTP_IF_MODIFIED_SINCE |
                                1u << MIR__HTTP_IF_UNMODIFIED_SINCE;
    const char *etag = exchange->value->etag;
    bool valid;
    if (!(exchange->request.seen & conditions))
        return 0;
    struct mir_http_text list = mir__http_list(exchange, MIR__HTTP_IF_MATCH);
    if (list.text != NULL) {
        if (!mir__http_etag_in_list(list.text, list.len, etag, false))
            return 412;
    } else if (is_newer(exchange, MIR__HTTP_IF_UNMODIFIED_SINCE, &valid)) {
        return 412;
    }
    list = mir__http_list(exchange, MIR__HTTP_IF_NONE_MATCH);
    if (list.text != NULL)
        return mir__http_etag_in_list(list.text, list.len, etag, true) ? 304 : 0;
    bool newer = is_newer(exchange, MIR__HTTP_IF_MODIFIED_SINCE, &valid);
    return valid && !newer ? 304 : 0;
}

/* Does If-Range allow the ranges? A date must be exactly the one we gave (RFC 9110 13.1.5). */
static bool check_if_range(const struct mir_http_exchange *exchange)
{
    struct mir_http_text text = mir__http_single(exchange, MIR__HTTP_IF_RANGE);
    uint64_t date;
    if (text.text == NULL)
        return !(exchange->request.seen & 1u << MIR__HTTP_IF_RANGE);
    if (text.len > 0 && text.text[0] == '"')
        return mir__http_etag_in_list(text.text, text.len, exchange->value->etag, false);
    return mir__http_date_parse(text.text, text.len, exchange->conn->server->unix_s, &date) == 0 &&
           exchange->entry->modified_us != 0 && exchange->entry->modified_us / MIR_US_PER_S == date;
}

static enum mir__http_range_result find_ranges(struct mir_http_exchange *exchange)
{
    if (!(exchange->request.seen & 1u << MIR__HTTP_RANGE) ||
        exchange->request.method != MIR_HTTP_GET || !check_if_range(exchange))
        return MIR__HTTP_RANGE_IGNORE;
    struct mir_http_text text = mir__http_single(exchange, MIR__HTTP_RANGE);
    if (text.text == NULL)
        return MIR__HTTP_RANGE_IGNORE;
    return mir__http_parse_ranges(text.text, text.len, exchange->value->size_bytes, exchange->range,
                                  &exchange->range_count);
}

/* ---- heads
 * --------------------------------------------------------------------------------------- */

/* The ready lines except those whose names begin with @left_out. */
static void put_lines_without(struct mir__http_text_out *out, const struct mir_kv_body *value,
                              const char *left_out)
{
    size_t prefix = mir_str_len(left_out);
    uint32_t from = 0;
    while (from < value->head_len) {
        uint32_t to = from;
        while (to < value->head_len && value->head[to] != '\n')
            to++;
        to = MIR_MIN(to + 1, value->head_len);
        if (to - from < prefix || mir_memcmp(value->head + from, left_out, prefix) != 0)
            mir__http_put(out, value->head + from, to - from);
        from = to;
    }
}

static void put_length(struct mir__http_text_out *out, uint64_t len)
{
    mir__http_put_text(out, "Content-Length: ");
    mir__http_put_number(out, len);
    mir__http_put(out, "\r\n\r\n", 4);
}

static void put_content_range(struct mir__http_text_out *out, const struct mir__http_range *range,
                              uint32_t size)
{
    mir__http_put_text(out, "Content-Range: bytes ");
    mir__http_put_number(out, range->first);
    mir__http_put_text(out, "-");
    mir__http_put_number(out, range->first + range->len - 1);
    mir__http_put_text(out, "/");
    mir__http_put_number(out, size);
    mir__http_put_text(out, "\r\n");
}

/* A text that is in no content: made from the entity tag, which is made from the content. */
static void put_boundary(struct mir__http_text_out *out, const struct mir_http_exchange *exchange)
{
    const char *etag = exchange->value->etag;
    uint32_t len = 0;
    mir__http_put_text(out, "mirari-part-");
    for (; etag != NULL && *etag != '\0' && len < 40; etag++) {
        if ((*etag >= '0' && *etag <= '9') || (*etag >= 'a' && *etag <= 'z')) {
            mir__http_put(out, etag, 1);
            len++;
        }
    }
}

/* What stands before part @index, or behind the last one. */
static void put_part(struct mir__http_text_out *out, const struct mir_http_exchange *exchange,
                     uint32_t index)
{
    mir__http_put_text(out, "\r\n--");
    put_boundary(out, exchange);
    if (index == exchange->range_count) {
        mir__http_put_text(out, "--\r\n");
        return;
    }
    mir__http_put_text(out, "\r\nContent-Type: ");
    mir__http_put_text(out, exchange->entry->media_type);
    mir__http_put_text(out, "\r\n");
    put_content_range(out, &exchange->range[index], exchange->value->size_bytes);
    mir__http_put_text(out, "\r\n");
}

static uint64_t multipart_length(const struct mir_http_exchange *exchange)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i <= exchange->range_count; i++) {
        struct mir__http_text_out out = mir__http_text_begin(exchange->conn->server);
        const char *from = out.at;
        put_part(&out, exchange, i);
        total += (uint64_t)(out.at - from);
        total += i < exchange->range_count ? exchange->range[i].len : 0;
    }
    return total;
}

/* ---- answers
 * --------------------------------------------------------------------------------------- */

/* The head is in @out; the bytes of the value that are to follow are in value_at and value_left. */
static void send(struct mir_http_exchange *exchange, struct mir__http_text_out *out)
{
    uint32_t len = exchange->value_left;
    exchange->answer = MIR__HTTP_ANSWER_STATIC;
    if (exchange->is_head) {
        exchange->answer = MIR__HTTP_ANSWER_DONE;
    } else if (len <= MIR__HTTP_SMALL_BODY && exchange->range_count <= 1) {
        mir__http_put(out, exchange->value->page->base + exchange->value_at, len);
        exchange->answer = MIR__HTTP_ANSWER_DONE;
    }
    int r = mir__http_out_text(exchange, out);
    if (r < 0)
        MIR_LOG(HTTP, DEBUG, "static: %s", mir_strerror(r));
}

static void send_whole(struct mir_http_exchange *exchange, unsigned status)
{
    const struct mir_kv_body *value = exchange->value;
    struct mir__http_text_out out = mir__http_text_begin(exchange->conn->server);
    exchange->range_count = 0;
    exchange->value_at = 0;
    exchange->value_left = value->size_bytes;
    mir__http_put_status(&out, exchange, status);
    mir__http_put(&out, value->head, value->head_len);
    put_length(&out, value->size_bytes);
    send(exchange, &out);
}

static void send_not_modified(struct mir_http_exchange *exchange)
{
    struct mir__http_text_out out = mir__http_text_begin(exchange->conn->server);
    mir__http_put_status(&out, exchange, 304);
    put_lines_without(&out, exchange->value, "Content-");
    mir__http_put(&out, "\r\n", 2);
    exchange->is_head = true;
    send(exchange, &out);
}

static void send_range(struct mir_http_exchange *exchange)
{
    struct mir__http_text_out out = mir__http_text_begin(exchange->conn->server);
    const struct mir__http_range *range = &exchange->range[0];
    exchange->value_at = range->first;
    exchange->value_left = range->len;
    mir__http_put_status(&out, exchange, 206);
    mir__http_put(&out, exchange->value->head, exchange->value->head_len);
    put_content_range(&out, range, exchange->value->size_bytes);
    put_length(&out, range->len);
    send(exchange, &out);
}

static void send_multipart(struct mir_http_exchange *exchange)
{
    uint64_t len = multipart_length(exchange);
    struct mir__http_text_out out = mir__http_text_begin(exchange->conn->server);
    exchange->range_index = 0;
    exchange->value_left = 0;
    mir__http_put_status(&out, exchange, 206);
    put_lines_without(&out, exchange->value, "Content-Type:");
    mir__http_put_text(&out, "Content-Type: multipart/byteranges; boundary=");
    put_boundary(&out, exchange);
    mir__http_put_text(&out, "\r\n");
    put_length(&out, len);
    send(exchange, &out);
}

static void send_unsatisfiable(struct mir_http_exchange *exchange)
{
    struct mir__http_text_out out = mir__http_text_begin(exchange->conn->server);
    mir__http_put_status(&out, exchange, 416);
    mir__http_put_text(&out, "Content-Range: bytes */");
    mir__http_put_number(&out, exchange->value->size_bytes);
    mir__http_put_text(&out, "\r\n");
    put_length(&out, 0);
    exchange->is_head = true;
    send(exchange, &out);
}

static void serve(struct mir_http_exchange *exchange, const struct mir_kv_entry *entry)
{
    exchange->entry = entry;
    exchange->value = choose_body(exchange, entry);
    unsigned status = check_conditions(exchange);
    if (status == 304) {
        send_not_modified(exchange);
        return;
    }
    if (status != 0) {
        mir__http_respond_error(exchange, status, 0);
        return;
    }
    switch (find_ranges(exchange)) {
    case MIR__HTTP_RANGE_OK:
        if (exchange->range_count == 1)
            send_range(exchange);
        else
            send_multipart(exchange);
        break;
    case MIR__HTTP_RANGE_UNSATISFIABLE:
        send_unsatisfiable(exchange);
        break;
    case MIR__HTTP_RANGE_IGNORE:
        mir__http_ready_learn(exchange);
        send_whole(exchange, 200);
        break;
    }
}

/* One piece of the value, or what stands between two parts. */
static void pump_one(struct mir_http_exchange *exchange, uint32_t room)
{
    int r = 0;
    if (exchange->value_left > 0) {
        uint32_t n = MIR_MIN(MIR_MAX(room, VIEW_MIN), MIR__HTTP_VIEW_MAX);
        n = MIR_MIN(n, exchange->value_left);
        r = mir__http_out_view(exchange,
                               mir_view_of_page(exchange->value->page, exchange->value_at, n));
        exchange->value_at += n;
        exchange->value_left -= n;
    } else if (exchange->range_count > 1 && exchange->range_index <= exchange->range_count) {
        struct mir__http_text_out out = mir__http_text_begin(exchange->conn->server);
        uint32_t index = exchange->range_index++;
        put_part(&out, exchange, index);
        if (index < exchange->range_count) {
            exchange->value_at = exchange->range[index].first;
            exchange->value_left = exchange->range[index].len;
        }
        r = mir__http_out_text(exchange, &out);
    } else {
        exchange->answer = MIR__HTTP_ANSWER_DONE;
    }
    if (r < 0)
        MIR_LOG(HTTP, DEBUG, "static: %s", mir_strerror(r));
}

bool mir__http_static_pump(struct mir_http_exchange *exchange)
{
    bool has_moved = false;
    uint32_t room;
    while (exchange->answer == MIR__HTTP_ANSWER_STATIC &&
           (room = mir__http_out_room(exchange)) > 0) {
        pump_one(exchange, room);
        has_moved = true;
    }
    return has_moved;
}

/* ---- keys
 * ------------------------------------------------------------------------------------------ */

/* Look up @key with @suffix behind it. */
static int get_with(struct mir_http_exchange *exchange, struct mir_kv *kv, struct mir_http_text key,
                    const char *suffix, const struct mir_kv_entry **entry)
{
    struct mir__http_text_out out = mir__http_text_begin(exchange->conn->server);
    const char *from = out.at;
    mir__http_put(&out, key.text, key.len);
    mir__http_put_text(&out, suffix);
    if (out.is_cut)
        return -MIR_ENOENT;
    return mir_kv_get(kv, from, (size_t)(out.at - from), entry);
}

bool mir__http_static_not_found(struct mir_http_exchange *exchange, struct mir_kv *kv)
{
    const struct mir_kv_entry *entry;
    if (mir_kv_get(kv, NOT_FOUND_KEY, sizeof NOT_FOUND_KEY - 1, &entry) < 0)
        return false;
    exchange->entry = entry;
    exchange->value = choose_body(exchange, entry);
    send_whole(exchange, 404);
    return true;
}

/* Characters of a path that stand for themselves (RFC 3986 section 3.3). */
static bool is_path_char(uint8_t c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    for (const char *p = "-._~!$&'()*+,;=:@/"; *p != '\0'; p++) {
        if ((uint8_t)*p == c)
            return true;
    }
    return false;
}

void mir__http_redirect_to_folder(struct mir_http_exchange *exchange)
{
    struct mir__http_text_out out = mir__http_text_begin(exchange->conn->server);
    mir__http_put_status(&out, exchange, 301);
    mir__http_put_text(&out, "Location: ");
    for (uint32_t i = 0; i < exchange->path.len; i++) {
        static const char hex[] = "0123456789ABCDEF";
        uint8_t c = (uint8_t)exchange->path.text[i];
        char escaped[3] = {'%', hex[c >> 4], hex[c & 15]};
        if (is_path_char(c))
            mir__http_put(&out, &c, 1);
        else
            mir__http_put(&out, escaped, 3);
    }
    mir__http_put_text(&out, "/");
    if (exchange->query.text != NULL) {
        mir__http_put_text(&out, "?");
        mir__http_put(&out, exchange->query.text, exchange->query.len);
    }
    mir__http_put_text(&out, "\r\n");
    put_length(&out, 0);
    if (out.is_cut) {
        mir__http_respond_error(exchange, 414, 0);
        return;
    }
    exchange->is_head = true;
    send(exchange, &out);
}

void mir__http_static_begin(struct mir_http_exchange *exchange, const struct mir__http_route *route)
{
    struct mir_http_text key = {exchange->path.text + route->prefix_len,
                                exchange->path.len - route->prefix_len};
    const struct mir_kv_entry *entry;
    bool is_folder = key.len == 0 || key.text[key.len - 1] == '/';
    int r = is_folder ? get_with(exchange, route->kv, key, INDEX_KEY, &entry)
                      : mir_kv_get(route->kv, key.text, key.len, &entry);
    if (r == 0)
        serve(exchange, entry);
    else if (!is_folder && get_with(exchange, route->kv, key, "/" INDEX_KEY, &entry) == 0)
        mir__http_redirect_to_folder(exchange);
    else if (!mir__http_static_not_found(exchange, route->kv))
        mir__http_respond_error(exchange, 404, 0);
}
