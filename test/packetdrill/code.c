/* SPDX-License-Identifier: ISC */
/* Assertions over TCP_INFO: the piece of Python that packet scripts need.
 *
 *   statements, one a line or separated by ";":
 *       assert EXPRESSION [, anything]     NAME = EXPRESSION     print(anything): not printed
 *   or, and, not    == != < <= > >= (chained)    | ^ &   << >>   + -   * // %   - ~ ()
 *
 * Names are the fields of TCP_INFO and the constants that go with them. Numbers are integers of 64
 * bits. "#" begins a comment; a backslash or an open parenthesis continues a line. Anything else is
 * an error with a message: a script that needs more needs Python.
 */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/tcp.h>

#include "test/packetdrill/script.h"

#define DEPTH_MAX     64
#define VARIABLES_MAX 16u

struct code {
    const char *at;
    const struct tcp_info *info;
    int parens;
    int depth;
    struct {
        const char *name;
        size_t len;
        int64_t value;
    } variable[VARIABLES_MAX];
    uint32_t variables;
    char *error;
    size_t size;
    jmp_buf failed;
};

static _Noreturn void fail(struct code *code, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static _Noreturn void fail(struct code *code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(code->error, code->size, fmt, args);
    va_end(args);
    longjmp(code->failed, 1);
}

/* ---- names ------------------------------------------------------------------------------------
 */

/* clang-format off */
#define FIELDS(X)                                                      \
    X(state) X(ca_state) X(retransmits) X(probes) X(backoff)           \
    X(options) X(snd_wscale) X(rcv_wscale) X(rto) X(ato) X(snd_mss)    \
    X(rcv_mss) X(unacked) X(sacked) X(lost) X(retrans) X(fackets)      \
    X(last_data_sent) X(last_ack_sent) X(last_data_recv)               \
    X(last_ack_recv) X(pmtu) X(rcv_ssthresh) X(rtt) X(rttvar)          \
    X(snd_ssthresh) X(snd_cwnd) X(advmss) X(reordering) X(rcv_rtt)     \
    X(rcv_space) X(total_retrans) X(pacing_rate) X(max_pacing_rate)    \
    X(bytes_acked) X(bytes_received) X(segs_out) X(segs_in)            \
    X(notsent_bytes) X(min_rtt) X(data_segs_in) X(data_segs_out)       \
    X(delivery_rate) X(busy_time) X(rwnd_limited) X(sndbuf_limited)    \
    X(delivered) X(delivered_ce) X(bytes_sent) X(bytes_retrans)        \
    X(dsack_dups) X(reord_seen) X(rcv_ooopack) X(snd_wnd)
/* clang-format on */

static const struct {
    const char *name;
    int64_t value;
} constants[] = {
    {"TCP_ESTABLISHED", 1},
    {"TCP_SYN_SENT", 2},
    {"TCP_SYN_RECV", 3},
    {"TCP_FIN_WAIT1", 4},
    {"TCP_FIN_WAIT2", 5},
    {"TCP_TIME_WAIT", 6},
    {"TCP_CLOSE", 7},
    {"TCP_CLOSE_WAIT", 8},
    {"TCP_LAST_ACK", 9},
    {"TCP_LISTEN", 10},
    {"TCP_CLOSING", 11},
    {"TCP_CA_Open", 0},
    {"TCP_CA_Disorder", 1},
    {"TCP_CA_CWR", 2},
    {"TCP_CA_Recovery", 3},
    {"TCP_CA_Loss", 4},
    {"TCPI_OPT_TIMESTAMPS", 1},
    {"TCPI_OPT_SACK", 2},
    {"TCPI_OPT_WSCALE", 4},
    {"TCPI_OPT_ECN", 8},
    {"TCPI_OPT_ECN_SEEN", 16},
    {"TCPI_OPT_SYN_DATA", 32},
    {"TCP_INFINITE_SSTHRESH", 0x7fffffff},
    {"True", 1},
    {"False", 0},
};

static bool is_name(const char *name, size_t len, const char *text)
{
    return strlen(text) == len && memcmp(name, text, len) == 0;
}

static int64_t lookup(struct code *code, const char *name, size_t len)
{
#define X(field)                                                                                   \
    if (is_name(name, len, "tcpi_" #field))                                                        \
        return (int64_t)code->info->tcpi_##field;
    FIELDS(X)
#undef X
    for (uint32_t i = code->variables; i-- > 0;)
        if (code->variable[i].len == len && memcmp(code->variable[i].name, name, len) == 0)
            return code->variable[i].value;
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++)
        if (is_name(name, len, constants[i].name))
            return constants[i].value;
    fail(code, "unknown name '%.*s'", (int)(len < 60 ? len : 60), name);
}

/* ---- words ------------------------------------------------------------------------------------
 */

static void blanks(struct code *code)
{
    for (;;) {
        char c = *code->at;
        if (c == ' ' || c == '\t' || c == '\r' || (c == '\n' && code->parens > 0)) {
            code->at++;
        } else if (c == '\\' && code->at[1] == '\n') {
            code->at += 2;
        } else if (c == '#') {
            while (*code->at != '\0' && *code->at != '\n')
                code->at++;
        } else {
            return;
        }
    }
}

static bool take(struct code *code, const char *text)
{
    size_t len = strlen(text);
    blanks(code);
    if (strncmp(code->at, text, len) != 0)
        return false;
    char next = code->at[len];
    if (isalpha((unsigned char)*text) && (isalnum((unsigned char)next) || next == '_'))
        return false;
    code->at += len;
    return true;
}

/* An operator that is no prefix of another. */
static bool take_op(struct code *code, const char *text, const char *not_before)
{
    blanks(code);
    size_t len = strlen(text);
    if (strncmp(code->at, text, len) != 0 ||
        (code->at[len] != '\0' && strchr(not_before, code->at[len]) != NULL))
        return false;
    code->at += len;
    return true;
}

/* ---- expressions ------------------------------------------------------------------------------
 */

static int64_t expression(struct code *code);

static int64_t primary(struct code *code)
{
    blanks(code);
    if (take(code, "(")) {
        code->parens++;
        int64_t value = expression(code);
        if (!take(code, ")"))
            fail(code, "')' is missing");
        code->parens--;
        return value;
    }
    if (isdigit((unsigned char)*code->at)) {
        char *end;
        unsigned long long value = strtoull(code->at, &end, 0);
        code->at = end;
        return (int64_t)value;
    }
    const char *name = code->at;
    while (isalnum((unsigned char)*code->at) || *code->at == '_')
        code->at++;
    if (code->at == name)
        fail(code, "an expression is missing at '%.20s'", name);
    return lookup(code, name, (size_t)(code->at - name));
}

static int64_t unary(struct code *code)
{
    int64_t value;
    if (++code->depth > DEPTH_MAX)
        fail(code, "expressions are nested too deeply");
    if (take(code, "-"))
        value = (int64_t)(0 - (uint64_t)unary(code));
    else if (take(code, "~"))
        value = ~unary(code);
    else
        value = primary(code);
    code->depth--;
    return value;
}

static int64_t product(struct code *code)
{
    int64_t left = unary(code);
    for (;;) {
        bool times = take_op(code, "*", "*");
        bool over = !times && take_op(code, "//", "");
        if (!times && !over && !take_op(code, "/", "") && !take_op(code, "%", "}"))
            return left;
        bool is_rest = !times && !over && code->at[-1] == '%';
        int64_t right = unary(code);
        if (times) {
            left = (int64_t)((uint64_t)left * (uint64_t)right);
            continue;
        }
        if (right == 0 || (left == INT64_MIN && right == -1))
            fail(code, "division by zero");
        left = is_rest ? left % right : left / right;
    }
}

static int64_t sum(struct code *code)
{
    int64_t left = product(code);
    for (;;) {
        if (take(code, "+"))
            left = (int64_t)((uint64_t)left + (uint64_t)product(code));
        else if (take(code, "-"))
            left = (int64_t)((uint64_t)left - (uint64_t)product(code));
        else
            return left;
    }
}

static int64_t shift(struct code *code)
{
    int64_t left = sum(code);
    for (;;) {
        bool is_left = take(code, "<<");
        if (!is_left && !take(code, ">>"))
            return left;
        int64_t count = sum(code);
        if (count < 0 || count > 62)
            fail(code, "a shift by %lld", (long long)count);
        left = is_left ? (int64_t)((uint64_t)left << count) : left >> count;
    }
}

static int64_t bits(struct code *code)
{
    int64_t left = shift(code);
    for (;;) {
        if (take(code, "&"))
            left &= shift(code);
        else if (take(code, "^"))
            left ^= shift(code);
        else if (take(code, "|"))
            left |= shift(code);
        else
            return left;
    }
}

static int64_t comparison(struct code *code)
{
    static const char *const ops[] = {"==", "!=", "<=", ">=", "<", ">"};
    int64_t left = bits(code);
    bool is_chain = false;
    int64_t result = left;
    for (;;) {
        size_t op = 0;
        while (op < 6 && !take_op(code, ops[op], op >= 4 ? "<>=" : ""))
            op++;
        if (op == 6)
            return result;
        int64_t right = bits(code);
        const bool holds[] = {left == right, left != right, left <= right, left >= right,
                              left<right, left> right};
        result = (!is_chain || result) && holds[op];
        is_chain = true;
        left = right;
    }
}

static int64_t negation(struct code *code)
{
    bool is_not = false;
    while (take(code, "not"))
        is_not = !is_not;
    int64_t value = comparison(code);
    return is_not ? !value : value;
}

static int64_t conjunction(struct code *code)
{
    int64_t value = negation(code);
    while (take(code, "and")) {
        int64_t right = negation(code);
        value = value && right;
    }
    return value;
}

static int64_t expression(struct code *code)
{
    if (++code->depth > DEPTH_MAX)
        fail(code, "expressions are nested too deeply");
    int64_t value = conjunction(code);
    while (take(code, "or")) {
        int64_t right = conjunction(code);
        value = value || right;
    }
    code->depth--;
    return value;
}

/* ---- statements -------------------------------------------------------------------------------
 */

static void assertion(struct code *code)
{
    blanks(code);
    const char *from = code->at;
    int64_t holds = expression(code);
    const char *to = code->at;
    bool has_message = take(code, ",");
    int64_t message = 0;
    const char *message_from = code->at;
    if (has_message) {
        blanks(code);
        message_from = code->at;
        if (*code->at == '\'' || *code->at == '"') {
            while (*code->at != '\0' && *code->at != '\n')
                code->at++;
            has_message = false;
        } else {
            message = expression(code);
        }
    }
    if (holds)
        return;
    if (has_message)
        fail(code, "assert %.*s: %.*s is %lld", (int)(to - from), from,
             (int)(code->at - message_from), message_from, (long long)message);
    fail(code, "assert %.*s", (int)(to - from), from);
}

static void assignment(struct code *code)
{
    const char *name = code->at;
    while (isalnum((unsigned char)*code->at) || *code->at == '_')
        code->at++;
    size_t len = (size_t)(code->at - name);
    if (len == 0 || !take_op(code, "=", "="))
        fail(code, "only assertions are understood, not '%.20s'", name);
    int64_t value = expression(code);
    if (code->variables == VARIABLES_MAX)
        fail(code, "more than %u names", VARIABLES_MAX);
    code->variable[code->variables].name = name;
    code->variable[code->variables].len = len;
    code->variable[code->variables++].value = value;
}

bool pd_code_run(const char *text, const struct tcp_info *info, char *error, size_t size)
{
    struct code code = {.at = text, .info = info, .error = error, .size = size};
    if (setjmp(code.failed) != 0)
        return false;
    for (;;) {
        while (take(&code, "\n") || take(&code, ";")) {
        }
        if (*code.at == '\0')
            return true;
        if (take(&code, "assert"))
            assertion(&code);
        else if (take(&code, "print"))
            code.at += strcspn(code.at, "\n");
        else
            assignment(&code);
        blanks(&code);
        if (*code.at != '\0' && *code.at != '\n' && *code.at != ';')
            fail(&code, "'%.20s' after an assertion", code.at);
    }
}
