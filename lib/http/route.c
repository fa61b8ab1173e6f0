/* SPDX-License-Identifier: ISC */
/* Routes, and what happens when the head of a request is there.
 *
 * There are at most 32 routes; they are searched in order of falling prefix length, so the first
 * match is the longest. A handler is called right from here, inside the connection's run().
 */
#include "lib/http/internal.h"

static bool has_prefix(const struct mir__http_route *route, struct mir_http_text path)
{
    uint32_t len = route->prefix_len;
    if (path.len < len || mir_memcmp(path.text, route->prefix, len) != 0)
        return false;
    return path.len == len || route->prefix[len - 1] == '/';
}

/* Routes stay sorted: longer prefixes first. */
static int add_route(struct mir_http_server *server, const struct mir__http_route *route)
{
    uint32_t at = 0;
    if (route->prefix[0] != '/' || route->methods == 0)
        return -MIR_EINVAL;
    if (server->route_count == MIR__HTTP_ROUTES_MAX)
        return -MIR_ELIMIT;
    for (uint32_t i = 0; i < server->route_count; i++) {
        if ((server->route[i].methods & route->methods) != 0 &&
            mir_str_equal(server->route[i].prefix, route->prefix))
            return -MIR_EEXIST;
    }
    while (at < server->route_count && server->route[at].prefix_len > route->prefix_len)
        at++;
    for (uint32_t i = server->route_count; i > at; i--)
        server->route[i] = server->route[i - 1];
    server->route[at] = *route;
    server->route_count++;
    mir__http_ready_reset(server);
    return 0;
}

int mir_http_route(struct mir_http_server *server, const char *prefix, unsigned methods,
                   mir_http_handler_fn handler, void *arg)
{
    struct mir__http_route route = {
        .prefix = prefix,
        .prefix_len = (uint32_t)mir_str_len(prefix),
        .methods = methods | (methods & MIR_HTTP_GET ? MIR_HTTP_HEAD : 0u),
        .handler = handler,
        .arg = arg,
    };
    return add_route(server, &route);
}

int mir_http_route_kv(struct mir_http_server *server, const char *prefix, struct mir_kv *kv)
{
    struct mir__http_route route = {
        .prefix = prefix,
        .prefix_len = (uint32_t)mir_str_len(prefix),
        .methods = MIR_HTTP_GET | MIR_HTTP_HEAD,
        .kv = kv,
    };
    if (route.prefix_len == 0 || prefix[route.prefix_len - 1] != '/')
        return -MIR_EINVAL;
    return add_route(server, &route);
}

/* ---- a request
 * ----------------------------------------------------------------------------------- */

static bool fill_path(struct mir_http_exchange *exchange)
{
    struct mir__http_request *request = &exchange->request;
    const char *head = (const char *)exchange->head.data;
    if (request->query_at != 0)
        exchange->query = (struct mir_http_text){head + request->query_at, request->query_len};
    exchange->path = (struct mir_http_text){head + request->path_at, request->path_len};
    if (request->path_len == 0)
        exchange->path = (struct mir_http_text){"/", 1};
    if (!(request->flags & MIR__HTTP_RQ_PATH_RAW))
        return true;
    if (mir_page_alloc(exchange->conn->server->stack->pages, request->path_len, MIR_PAGE_OVERWRITE,
                       &exchange->path_page) < 0) {
        mir__http_respond_error(exchange, 503, 0);
        return false;
    }
    char *out = (char *)exchange->path_page->base;
    int len = mir__http_normalise_path(exchange->path.text, exchange->path.len, out);
    if (len < 0) {
        mir__http_respond_error(exchange, 400, 0);
        return false;
    }
    exchange->path = (struct mir_http_text){out, (uint32_t)len};
    return true;
}

/* The path plus "/" is where a store begins. */
static bool is_folder_of_kv(const struct mir_http_server *server, struct mir_http_text path)
{
    for (uint32_t i = 0; i < server->route_count; i++) {
        const struct mir__http_route *route = &server->route[i];
        if (route->kv != NULL && route->prefix_len == path.len + 1 &&
            mir_memcmp(route->prefix, path.text, path.len) == 0)
            return true;
    }
    return false;
}

/* The longest matching prefix; the route with the method among those that share it. @allow gets
 * their methods together. */
static const struct mir__http_route *find_route(const struct mir_http_exchange *exchange,
                                                unsigned *allow)
{
    const struct mir_http_server *server = exchange->conn->server;
    const struct mir__http_route *best = NULL;
    *allow = 0;
    for (uint32_t i = 0; i < server->route_count; i++) {
        const struct mir__http_route *route = &server->route[i];
        if (best != NULL && route->prefix_len < best->prefix_len)
            break;
        if (!has_prefix(route, exchange->path))
            continue;
        *allow |= route->methods;
        if (best == NULL || route->methods & exchange->request.method)
            best = route;
    }
    return best;
}

static void answer_options(struct mir_http_exchange *exchange, unsigned allow)
{
    struct mir__http_text_out out = mir__http_text_begin(exchange->conn->server);
    mir__http_put_status(&out, exchange, 204);
    mir__http_put_allow(&out, allow | MIR_HTTP_OPTIONS);
    mir__http_put_text(&out, "\r\n");
    exchange->answer = MIR__HTTP_ANSWER_DONE;
    int r = mir__http_out_text(exchange, &out);
    if (r < 0)
        MIR_LOG(HTTP, DEBUG, "options: %s", mir_strerror(r));
}

void mir__http_dispatch(struct mir_http_exchange *exchange)
{
    struct mir_http_server *server = exchange->conn->server;
    unsigned allow;
    if (exchange->request.flags & MIR__HTTP_RQ_ASTERISK) {
        answer_options(exchange, MIR_HTTP_GET | MIR_HTTP_HEAD | MIR_HTTP_POST | MIR_HTTP_PUT |
                                     MIR_HTTP_DELETE | MIR_HTTP_PATCH);
        return;
    }
    if (!fill_path(exchange))
        return;
    const struct mir__http_route *route = find_route(exchange, &allow);
    bool is_exact = route != NULL && route->prefix_len == exchange->path.len;
    if (!is_exact && is_folder_of_kv(server, exchange->path)) {
        mir__http_redirect_to_folder(exchange);
    } else if (route == NULL) {
        mir__http_respond_error(exchange, 404, 0);
    } else if (!(route->methods & exchange->request.method)) {
        if (exchange->request.method == MIR_HTTP_OPTIONS)
            answer_options(exchange, allow);
        else
            mir__http_respond_error(exchange, 405, allow | MIR_HTTP_OPTIONS);
    } else if (route->handler != NULL) {
        route->handler(exchange, route->arg);
    } else {
        mir__http_static_begin(exchange, route);
    }
}
