/* SPDX-License-Identifier: ISC */
/* RFC 9293 section 3.10.7.4 as a table: each synchronized state, each check in the RFC's order.
 * (3.10.7.1 to 3 and SYN_RECEIVED are in tcp_open_test, TIME_WAIT's reuse in tcp_close_test.) */
#include "test/harness/tcp_script.h"

enum {
    ESTABLISHED = MIR_TCP_S_ESTABLISHED,
    FIN_WAIT_1 = MIR_TCP_S_FIN_WAIT_1,
    FIN_WAIT_2 = MIR_TCP_S_FIN_WAIT_2,
    CLOSE_WAIT = MIR_TCP_S_CLOSE_WAIT,
    CLOSING = MIR_TCP_S_CLOSING,
    LAST_ACK = MIR_TCP_S_LAST_ACK,
    TIME_WAIT = MIR_TCP_S_TIME_WAIT,
};

/* Numbers relative to the initial ones: what the peer sends next, our oldest without ACK, our next.
 */
static const struct row {
    int state;
    const char *name;
    uint32_t rcv, una, nxt;
} rows[] = {
    {ESTABLISHED, "ESTABLISHED", 1, 1, 1}, {FIN_WAIT_1, "FIN_WAIT_1", 1, 1, 2},
    {FIN_WAIT_2, "FIN_WAIT_2", 1, 2, 2},   {CLOSE_WAIT, "CLOSE_WAIT", 2, 1, 1},
    {CLOSING, "CLOSING", 2, 1, 2},         {LAST_ACK, "LAST_ACK", 2, 1, 2},
    {TIME_WAIT, "TIME_WAIT", 2, 2, 2},
};

static struct tcp_script s;

static int state_now(void)
{
    struct mir_tcp_info info;
    mir_tcp_get_info(s.tcp, &info);
    /* The connection object is done in TIME_WAIT; an entry in the table stands for it. */
    if (info.state == MIR_TCP_S_CLOSED && script_stat(&s, "time_wait") == 1)
        return TIME_WAIT;
    return info.state;
}

static void reach(const struct row *row, const char *check_name)
{
    tap_case("%s: %s", row->name, check_name);
    script_open(&s, NULL);
    script_accept(&s);
    if (row->state == CLOSE_WAIT || row->state == LAST_ACK) {
        in(&s, "FA", 1, 1, 0);
        out(&s, "A", 1, 2, 0);
    }
    if (row->state != ESTABLISHED && row->state != CLOSE_WAIT) {
        check_int(mir_tcp_shutdown(s.tcp), ==, 0);
        out(&s, "FA", 1, row->state == LAST_ACK ? 2 : 1, 0);
    }
    if (row->state == FIN_WAIT_2 || row->state == TIME_WAIT)
        in(&s, "A", 1, 2, 0);
    if (row->state == CLOSING || row->state == TIME_WAIT) {
        in(&s, "FA", 1, row->una, 0);
        out(&s, "A", 2, 2, 0);
    }
    quiet(&s);
    check_int(state_now(), ==, row->state);
    script_wait(&s, 110000); /* TIME_WAIT answers ten times a second */
    while (script_next(&s))  /* a probe for the FIN's ACK */
        continue;
    (void)script_events(&s);
}

static void leave(int state)
{
    check_int(state_now(), ==, state);
    script_close(&s);
}

static void acked(const struct row *row)
{
    out(&s, "A", row->nxt, row->rcv, 0);
    quiet(&s);
}

/* First: sequence number; second: RST; fourth: SYN */
static void check_numbers(const struct row *row)
{
    bool is_waiting = row->state == TIME_WAIT;
    reach(row, "old data is acknowledged and dropped");
    in(&s, "PA", row->rcv - 50, row->nxt, 20);
    acked(row);
    check_int(s.received, ==, 0);
    leave(row->state);

    reach(row, "data beyond the window is acknowledged and dropped");
    in(&s, "PA", row->rcv + 0x8000000, row->nxt, 20);
    acked(row);
    check_int(s.received, ==, 0);
    leave(row->state);

    reach(row, "an empty segment beyond the window: a challenge ACK, nothing from TIME_WAIT");
    in(&s, "A", row->rcv + 0x8000000, row->nxt, 0);
    if (!is_waiting)
        acked(row);
    quiet(&s);
    leave(row->state);

    reach(row, "RST outside the window: nothing");
    in(&s, "R", row->rcv - 1, 0, 0);
    in(&s, "R", row->rcv + 0x8000000, 0, 0);
    quiet(&s);
    leave(row->state);

    reach(row, "RST in the window: a challenge ACK (RFC 5961), nothing from TIME_WAIT (RFC 1337)");
    in(&s, "R", row->rcv + 10, 0, 0);
    if (!is_waiting)
        acked(row);
    quiet(&s);
    leave(row->state);

    reach(row, "RST at its place ends it; with an error where something was still to come");
    in(&s, "R", row->rcv, 0, 0);
    quiet(&s);
    bool is_over = row->state == CLOSING || row->state == LAST_ACK;
    if (!is_waiting)
        check_int(script_events(&s), ==, is_over ? MIR_TCP_CLOSED : MIR_TCP_FAILED);
    check_int(mir_tcp_error(s.tcp), ==, is_over || is_waiting ? 0 : -MIR_ECONNRESET);
    leave(is_waiting ? TIME_WAIT : MIR_TCP_S_CLOSED);

    reach(row, "SYN: a challenge ACK");
    in(&s, "S", row->rcv, 0, 0);
    acked(row);
    leave(row->state);
}

/* Fifth: ACK */
static void check_ack(const struct row *row)
{
    reach(row, "no ACK: dropped");
    in(&s, "", row->rcv, 0, 0);
    quiet(&s);
    leave(row->state);

    reach(row, "ACK of what was never sent: a challenge ACK, the segment dropped");
    in(&s, "FA", row->rcv, row->nxt + 1, 0);
    if (row->state == TIME_WAIT)
        script_next(&s); /* FIN is acknowledged there, whatever else it says */
    else
        acked(row);
    leave(row->state);

    reach(row, "an old ACK: nothing");
    in(&s, "A", row->rcv, row->una - 1, 0);
    quiet(&s);
    leave(row->state);

    reach(row, "the ACK of everything");
    in(&s, "A", row->rcv, row->nxt, 0);
    quiet(&s);
    int next = row->state;
    if (next == FIN_WAIT_1)
        next = FIN_WAIT_2;
    else if (next == CLOSING)
        next = TIME_WAIT;
    else if (next == LAST_ACK)
        next = MIR_TCP_S_CLOSED;
    leave(next);
}

/* Sixth: URG; seventh: text; eighth: FIN */
static void check_contents(const struct row *row)
{
    bool may_receive =
        row->state == ESTABLISHED || row->state == FIN_WAIT_1 || row->state == FIN_WAIT_2;
    static const char *const flags[] = {"PA", "UPA"};
    for (int i = 0; i < 2; i++) {
        reach(row, i == 0 ? "text" : "urgent text, read in line");
        in(&s, flags[i], row->rcv, row->una, 20);
        script_wait(&s, 50000);
        if (may_receive)
            out(&s, "A", row->nxt, row->rcv + 20, 0);
        while (script_next(&s))
            check_int(s.hdr.ack - s.peer_isn, ==, row->rcv + (may_receive ? 20 : 0));
        check_int(s.received, ==, may_receive ? 20 : 0);
        leave(row->state);
    }

    reach(row, "FIN, once more where it came already");
    in(&s, "FA", may_receive ? row->rcv : row->rcv - 1, row->una, 0);
    out(&s, "A", row->nxt, may_receive ? row->rcv + 1 : row->rcv, 0);
    quiet(&s);
    int next = row->state;
    if (next == ESTABLISHED)
        next = CLOSE_WAIT;
    else if (next == FIN_WAIT_1)
        next = CLOSING;
    else if (next == FIN_WAIT_2)
        next = TIME_WAIT;
    leave(next);

    if (row->state != FIN_WAIT_1)
        return;
    reach(row, "FIN with the ACK of ours: TIME_WAIT at once");
    in(&s, "FA", 1, 2, 0);
    out(&s, "A", 2, 2, 0);
    leave(TIME_WAIT);
}

int main(void)
{
    tap_begin("tcp_states");
    for (size_t i = 0; i < MIR_ARRAY_LEN(rows); i++) {
        check_numbers(&rows[i]);
        check_ack(&rows[i]);
        check_contents(&rows[i]);
    }
    return tap_done();
}
