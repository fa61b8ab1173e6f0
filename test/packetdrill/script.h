/* SPDX-License-Identifier: ISC */
/* A packet script as it was read: options, events, packets, calls, expressions.
 *
 *   lex.c     text -> words              parse.c   events and packets
 *   value.c   expressions, constants     packet.c  packet <-> bytes <-> text
 *   code.c    assertions over TCP_INFO   call.c    system calls
 *   run.c     the events in virtual time runner.c  the program
 *   settings.c  what shell lines would set, names that stand for values
 *
 * Everything a script owns is in one list of blocks and freed at once.
 */
#ifndef TEST_PACKETDRILL_SCRIPT_H
#define TEST_PACKETDRILL_SCRIPT_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PD_OPTIONS_MAX 40u
#define PD_ANY         INT64_MIN
#define PD_ERROR_MAX   2048
#define PD_DEFINES_MAX 8u

/* ---- expressions ------------------------------------------------------------------------------
 */

enum pd_value_kind {
    PD_INT,
    PD_TEXT,     /* "..." */
    PD_ELLIPSIS, /* ... */
    PD_LIST,     /* [a, b] */
    PD_STRUCT,   /* {a = 1, b = 2}, {..., 10} */
    PD_FIELD,    /* name = first */
};

struct pd_value {
    struct pd_value *next;  /* in the list or structure */
    struct pd_value *first; /* of a list or structure; the value of a field */
    enum pd_value_kind kind;
    int64_t number;
    const char *text; /* also the name of a field */
};

/* ---- packets ----------------------------------------------------------------------------------
 */

enum pd_protocol { PD_TCP = 6, PD_UDP = 17, PD_ICMP = 1 };
enum pd_ecn { PD_ECN_ANY = -1, PD_ECN_01 = 4 }; /* else the two bits */

struct pd_packet {
    bool is_in;
    uint8_t protocol;
    int ecn;
    int ttl; /* -1 = any */
    bool has_ports;
    uint16_t src_port, dst_port; /* as the script numbers them */
    /* TCP; UDP has only len. */
    uint8_t flags;
    bool has_window, any_options;
    uint32_t seq, ack, len;
    uint32_t window;
    uint8_t option[PD_OPTIONS_MAX]; /* as on the wire, numbers of the script */
    uint8_t option_len;
    /* ICMP: an error about a packet of ours. */
    uint8_t icmp_type, icmp_code;
    uint32_t icmp_mtu;
    uint8_t about; /* 0, PD_TCP or PD_UDP */
};

/* ---- events -----------------------------------------------------------------------------------
 */

enum pd_event_kind { PD_PACKET, PD_CALL, PD_CODE };
enum pd_time_kind { PD_AT, PD_AFTER, PD_WHENEVER };

struct pd_call {
    const char *name;
    struct pd_value *args;
    uint32_t arg_count;
    bool any_result;
    int64_t result;
    const char *error; /* "EAGAIN", or NULL */
    bool blocks;
    int64_t end_us;
};

struct pd_event {
    struct pd_event *next;
    int line;
    enum pd_event_kind kind;
    enum pd_time_kind time_kind;
    int64_t time_us;
    int64_t until_us; /* of a range; PD_ANY = none */
    struct pd_packet packet;
    struct pd_call call;
    const char *code;
};

struct pd_block;

struct pd_script {
    const char *path;
    struct pd_event *first;
    int64_t tolerance_us;
    double tolerance_percent;
    bool is_v6;
    bool is_strict; /* segments as they come: neither joined nor cut */
    uint32_t mtu;
    char local_ip[48], remote_ip[48]; /* empty: as always */
    char so_flags[512];
    struct pd_block *blocks;
    char error[PD_ERROR_MAX];
};

/** Options of the command line; also an option line of a script sets them. */
struct pd_settings {
    bool ignore_shell; /* `...` lines are skipped rather than refused */
    bool ignore_rest;  /* packets left at the end are no error */
    bool
        read_shell; /* settings of the stack named in `...` lines at the beginning are taken over */
    const char *define[PD_DEFINES_MAX]; /* "NAME=value": NAME in a script means value */
    uint32_t defines;
    bool is_loose; /* the P flag of outbound packets is not compared */
};

/** Read a script from @text. False: script->error says where and why. */
bool pd_script_parse(struct pd_script *script, const char *path, const char *text,
                     const struct pd_settings *settings);
void pd_script_free(struct pd_script *script);
/** Run it on a new host. False: script->error. */
bool pd_script_run(struct pd_script *script, const struct pd_settings *settings);

/* ---- between lex.c, value.c and parse.c -------------------------------------------------------
 */

enum pd_token {
    PD_T_END,
    PD_T_WORD,   /* letters, digits, underscores, beginning with a letter */
    PD_T_NUMBER, /* integer or decimal fraction, also hexadecimal */
    PD_T_STRING,
    PD_T_SHELL,    /* `...` */
    PD_T_CODE,     /* %{ ... }% */
    PD_T_OPTION,   /* --name */
    PD_T_ELLIPSIS, /* ... */
    PD_T_CHAR,     /* any other character */
};

struct pd_lexer {
    const char *at;
    int line;
    enum pd_token token;
    int token_line;
    const char *start; /* the token's text */
    size_t len;
    bool is_fraction;
    uint32_t depth; /* of nested expressions */
    struct pd_script *script;
    jmp_buf failed;
};

/** Move to the next token. */
void pd_lex(struct pd_lexer *lex);
_Noreturn void pd_fail(struct pd_lexer *lex, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool pd_is(const struct pd_lexer *lex, char c);
bool pd_is_word(const struct pd_lexer *lex, const char *word);
/** Pass over @c or @word if it is there. */
bool pd_take(struct pd_lexer *lex, char c);
bool pd_take_word(struct pd_lexer *lex, const char *word);
void pd_expect(struct pd_lexer *lex, char c);
/** The token's text as a string of the script's. */
const char *pd_text(struct pd_lexer *lex);
/** An unsigned integer from 0 to @most. */
uint32_t pd_number(struct pd_lexer *lex, uint32_t most);
/** A number of seconds, in microseconds. */
int64_t pd_seconds(struct pd_lexer *lex);
void *pd_alloc(struct pd_lexer *lex, size_t size);
/** An expression of a call. */
struct pd_value *pd_value_parse(struct pd_lexer *lex);
/** A constant such as SOCK_STREAM. False: no such name. */
bool pd_constant(const char *name, size_t len, int64_t *value);

/* ---- settings.c -------------------------------------------------------------------------------
 */

/** What [len] bytes of shell text set of the stack, as further --so_flags. */
void pd_settings_take(struct pd_script *script, const char *shell, size_t len);
/** A copy of @text in which the names of @settings are replaced; the caller frees it. */
char *pd_settings_define(const struct pd_settings *settings, const char *text);

/* ---- packet.c ---------------------------------------------------------------------------------
 */

#define PD_PACKET_TEXT_MAX 512

/** In the notation of scripts. */
void pd_packet_text(const struct pd_packet *packet, char out[PD_PACKET_TEXT_MAX]);

/* ---- code.c -----------------------------------------------------------------------------------
 */

struct tcp_info;
/** Check the assertions of @code. False, with a reason in [size] bytes of @error. */
bool pd_code_run(const char *code, const struct tcp_info *info, char *error, size_t size);

#endif
