/* SPDX-License-Identifier: ISC */
/* CUBIC's functions and HyStart++'s rounds, against values computed here in long double, and
 * CUBIC's reactions on a scripted connection.
 */
#include <math.h>
#include <string.h>

#include "lib/net/tcp/internal.h"
#include "test/harness/tcp_script.h"

/* RFC 9438 section 4.1.1. */
#define C    0.4L
#define BETA 0.7L

static struct tcp_script s;

static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static uint32_t draw(uint64_t *state, uint32_t low, uint32_t high)
{
    /* As many small numbers as large ones. */
    long double span = logl((long double)high / low);
    return (uint32_t)(low * expl(span * (long double)(next(state) >> 11) / (1ull << 53)));
}

static void test_k(uint64_t seed)
{
    tap_case("K is the cube root of figure 2, to the millisecond");
    uint32_t wrong = 0;
    for (int i = 0; i < 20000; i++) {
        uint32_t mss = draw(&seed, 88, 65495);
        uint32_t drop = draw(&seed, 1, 1u << 30);
        long double k_ms = cbrtl((long double)drop / mss / C) * 1000;
        if (fabsl(mir__tcp_cubic_k_ms(drop, mss) - k_ms) > 0.51L && wrong++ < 5)
            tap_note("drop %u mss %u: %u, should be %.3Lf", drop, mss,
                     mir__tcp_cubic_k_ms(drop, mss), k_ms);
    }
    check_int(wrong, ==, 0);
    check_int(mir__tcp_cubic_k_ms(0, 1460), ==, 0);
    /* 100 segments lost 30: cuberoot(30 / 0.4) = 4.217 s */
    check_int(mir__tcp_cubic_k_ms(30 * 1460, 1460), ==, 4217);
}

static void test_window(uint64_t seed)
{
    tap_case("W_cubic(t) is figure 1, within a byte per thousand and two");
    uint32_t wrong = 0;
    for (int i = 0; i < 20000; i++) {
        uint32_t mss = draw(&seed, 88, 65495);
        uint32_t w_max = draw(&seed, 2 * mss, 1u << 30);
        uint32_t k_ms = mir__tcp_cubic_k_ms(w_max / 10 * 3, mss);
        uint32_t t_ms = draw(&seed, 1, 400000);
        long double d = ((long double)t_ms - k_ms) / 1000;
        long double good = C * d * d * d * mss + w_max;
        good = fminl(fmaxl(good, 0), MIR__TCP_CWND_MAX);
        long double got = mir__tcp_cubic_window(w_max, k_ms, t_ms, mss);
        if (fabsl(got - good) > 2 + good / 1000 && wrong++ < 5)
            tap_note("w_max %u k %u t %u mss %u: %.0Lf, should be %.3Lf", w_max, k_ms, t_ms, mss,
                     got, good);
    }
    check_int(wrong, ==, 0);

    tap_case("it begins at 0.7 W_max, is W_max at K, and never falls");
    for (int i = 0; i < 200; i++) {
        uint32_t w_max = draw(&seed, 20 * 1460, 1u << 28);
        uint32_t k_ms = mir__tcp_cubic_k_ms(w_max - w_max / 10 * 7, 1460);
        long double begin = mir__tcp_cubic_window(w_max, k_ms, 0, 1460);
        wrong += fabsl(begin - BETA * w_max) > 2 * 1460 + 0.01L * w_max;
        wrong += mir__tcp_cubic_window(w_max, k_ms, k_ms, 1460) != w_max;
        uint32_t last = 0;
        for (uint32_t t_ms = 0; t_ms < 3 * k_ms; t_ms += 1 + k_ms / 50) {
            uint32_t window = mir__tcp_cubic_window(w_max, k_ms, t_ms, 1460);
            wrong += window < last;
            last = window;
        }
    }
    check_int(wrong, ==, 0);

    tap_case("extremes: nothing overflows");
    check_int(mir__tcp_cubic_window(1u << 30, 0, UINT32_MAX, 65495), ==, MIR__TCP_CWND_MAX);
    check_int(mir__tcp_cubic_window(0, UINT32_MAX, 0, 65495), ==, 0);
    check_int(mir__tcp_cubic_k_ms(UINT32_MAX, 1), <=, 2206418);
}

/* ---- HyStart++ --------------------------------------------------------------------------------
 */

struct rounds {
    struct mir__tcp_hystart h;
    uint32_t una, nxt;
    int count; /* rounds played */
};

static void rounds_begin(struct rounds *r, uint32_t rtt_us)
{
    *r = (struct rounds){.una = 0xffffff00u, .nxt = 0xffffff00u};
    mir__tcp_hystart_init(&r->h, r->nxt);
    r->nxt += 10; /* a first flight */
    mir__tcp_hystart_rtt(&r->h, rtt_us);
    r->una++;
    (void)mir__tcp_hystart_round(&r->h, r->una, r->nxt);
}

/* One round of @samples ACKs whose smallest delay is @rtt_us. True if slow start ended. */
static bool play(struct rounds *r, uint32_t samples, uint32_t rtt_us)
{
    bool is_over = false;
    uint32_t end = r->nxt;
    r->nxt += samples;
    for (uint32_t i = 0; i < samples; i++) {
        r->una = i + 1 == samples ? end : r->una;
        mir__tcp_hystart_rtt(&r->h, rtt_us + (i % 3) * 700);
        is_over |= mir__tcp_hystart_round(&r->h, r->una, r->nxt);
    }
    r->count++;
    return is_over;
}

static void test_hystart(void)
{
    struct rounds r;
    tap_case("HyStart++: a steady delay keeps slow start");
    rounds_begin(&r, 50000);
    for (int i = 0; i < 30; i++)
        check(!play(&r, 10, 50000) && r.h.css_round == 0);

    tap_case("the threshold is an eighth, at least 4 ms, at most 16 ms");
    static const struct {
        uint32_t base, rise;
    } thresholds[] = {
        {1000, 4000}, {32000, 4000}, {80000, 10000}, {128000, 16000}, {400000, 16000}};
    for (size_t i = 0; i < MIR_ARRAY_LEN(thresholds); i++) {
        for (uint32_t below = 0; below < 2; below++) {
            rounds_begin(&r, thresholds[i].base);
            (void)play(&r, 10, thresholds[i].base);
            (void)play(&r, 10, thresholds[i].base + thresholds[i].rise - below);
            check_int(r.h.css_round > 0, ==, !below);
        }
    }

    tap_case("fewer than eight samples decide nothing, the eighth does");
    rounds_begin(&r, 50000);
    (void)play(&r, 10, 50000);
    (void)play(&r, 7, 90000);
    check_int(r.h.css_round, ==, 0);
    rounds_begin(&r, 50000);
    (void)play(&r, 10, 50000);
    (void)play(&r, 8, 90000);
    check_int(r.h.css_round, >, 0);

    tap_case("five rounds of CSS, the rest of the first one included, end slow start");
    rounds_begin(&r, 50000);
    (void)play(&r, 10, 50000);
    check(!play(&r, 10, 60000));
    for (int i = 0; i < 3; i++)
        check(!play(&r, 10, 60000 + (uint32_t)i * 3000));
    check(play(&r, 10, 70000));

    tap_case("delay that falls again returns to slow start, and may rise again");
    rounds_begin(&r, 50000);
    (void)play(&r, 10, 50000);
    (void)play(&r, 10, 60000);
    check_int(r.h.css_round, >, 0);
    check(!play(&r, 10, 59000));
    check_int(r.h.css_round, ==, 0);
    check(!play(&r, 10, 59000));
    check_int(r.h.css_round, ==, 0);
    check(!play(&r, 10, 70000));
    check_int(r.h.css_round, >, 0);
}

/* ---- a connection -------------------------------------------------------------------------------
 */

static struct mir_tcp_info info(void)
{
    struct mir_tcp_info i;
    mir_tcp_get_info(s.tcp, &i);
    return i;
}

static struct mir__tcp_cubic *cubic(void)
{
    return &pcb_of(s.tcp)->busy->cc_state.cubic;
}

static void open_one(void)
{
    script_open(&s, NULL);
    s.ts = true;
    script_accept(&s);
    check_str(info().congestion, "cubic");
}

/* Everything that is sent now; returns the relative end. */
static uint32_t drain(uint32_t end)
{
    while (script_next(&s)) {
        uint32_t at = s.hdr.seq - s.our_isn + s.len;
        end = at > end ? at : end;
    }
    return end;
}

static uint32_t una(void)
{
    return pcb_of(s.tcp)->snd_una - s.our_isn;
}

/* A round trip later everything up to @end is acknowledged, and more is sent; returns its end. */
static uint32_t ack_all(uint32_t end)
{
    script_wait(&s, 20000);
    in(&s, "A", 1, end, 0);
    return drain(end);
}

/* One segment is acknowledged, the next is lost: three duplicates. Returns cwnd before. */
static uint32_t lose_one(uint32_t *end)
{
    in(&s, "A", 1, una() + info().mss, 0);
    *end = drain(*end);
    uint32_t cwnd = info().cwnd_bytes;
    uint32_t ack = una();
    for (int i = 0; i < 3; i++)
        in(&s, "A", 1, ack, 0);
    *end = drain(*end);
    check(pcb_of(s.tcp)->in_recovery);
    return cwnd;
}

static void test_reactions(void)
{
    tap_case("loss: ssthresh is 0.7 of the window, W_max the window; then fast convergence");
    open_one();
    uint32_t mss = info().mss;
    script_send(&s, 400000);
    uint32_t end = drain(0);
    script_wait(&s, 20000);
    uint32_t cwnd = lose_one(&end);
    check_int(cwnd, ==, 11 * mss);
    check_int(info().ssthresh_bytes, ==, cwnd * 7 / 10);
    check_int(cubic()->w_max, ==, cwnd);
    check_int(cubic()->cwnd_prior, ==, cwnd);
    end = ack_all(end);
    check(!pcb_of(s.tcp)->in_recovery);
    cwnd = lose_one(&end);
    check_int(cwnd, <, 11 * mss);
    check_int(cubic()->cwnd_prior, ==, cwnd);
    check_int(cubic()->w_max, ==, cwnd * 17 / 20);
    script_close(&s);

    tap_case("timeout: one segment, ssthresh 0.7, the next epoch has K = 0");
    open_one();
    script_send(&s, 400000);
    end = drain(0);
    script_wait(&s, 300000);
    (void)drain(0);
    check_int(info().timeouts, ==, 1);
    check_int(info().cwnd_bytes, ==, mss);
    check_int(info().ssthresh_bytes, ==, 7 * mss);
    for (int i = 0; i < 12 && !cubic()->has_epoch; i++)
        end = ack_all(end);
    check(cubic()->has_epoch);
    check_int(cubic()->k_ms, ==, 0);
    check_int(cubic()->w_max, >=, 7 * mss);
    script_close(&s);
}

static void test_idle(void)
{
    tap_case("time without anything outstanding does not count towards the epoch");
    open_one();
    uint32_t mss = info().mss;
    script_send(&s, 400000);
    uint32_t end = drain(0);
    script_wait(&s, 20000);
    (void)lose_one(&end);
    for (int i = 0; i < 100 && (!cubic()->has_epoch || info().flight_bytes > 0); i++)
        end = ack_all(end);
    check(cubic()->has_epoch);
    check_int(info().flight_bytes, ==, 0);
    uint32_t t_ms = ms_of(now_of(pcb_of(s.tcp)->host)) - cubic()->epoch_ms;
    /* Shorter than a retransmission timeout: the window stays. */
    uint32_t cwnd = info().cwnd_bytes;
    script_wait(&s, 150000);
    script_send(&s, 10 * mss);
    end = drain(end);
    check_int(ms_of(now_of(pcb_of(s.tcp)->host)) - cubic()->epoch_ms, ==, t_ms);
    check_int(info().cwnd_bytes, ==, cwnd);

    tap_case("after long idle: the initial window, and ssthresh keeps three quarters");
    in(&s, "A", 1, end, 0);
    cwnd = info().cwnd_bytes;
    uint32_t ssthresh = info().ssthresh_bytes;
    script_wait(&s, 5 * MIR_US_PER_S);
    script_send(&s, 100);
    (void)drain(0);
    check_int(info().cwnd_bytes, <=, 10 * mss);
    check_int(info().ssthresh_bytes, >=, MIR_MAX(ssthresh, cwnd / 4 * 3));
    script_close(&s);

    tap_case("a window that the application does not fill does not grow");
    open_one();
    uint32_t sent = 1;
    for (int i = 0; i < 50; i++) {
        script_send(&s, 1000);
        (void)drain(0);
        script_wait(&s, 20000);
        in(&s, "A", 1, sent += 1000, 0);
    }
    check_int(info().cwnd_bytes, ==, 10 * info().mss);
    script_close(&s);
}

static void test_choice(void)
{
    tap_case("the algorithm is chosen by name; an unknown name is refused");
    struct mir_net_config config = {.congestion = "reno"};
    script_open(&s, &config);
    script_accept(&s);
    check_str(info().congestion, "reno");
    script_close(&s);
    check(mir__tcp_cc_find(NULL) == &mir__tcp_cc_cubic);
    check(mir__tcp_cc_find("cubic") == &mir__tcp_cc_cubic);
    check(mir__tcp_cc_find("cubi") == NULL);
    check(mir__tcp_cc_find("renoo") == NULL);
    check(mir__tcp_cc_find("") == NULL);
}

static void test_change(void)
{
    tap_case("another algorithm for one connection: the window stays, the reactions change");
    open_one();
    script_send(&s, 400000);
    uint32_t end = drain(0);
    uint32_t cwnd = info().cwnd_bytes;
    check_int(mir__tcp_set_congestion(s.tcp, "vegas"), ==, -MIR_ENOENT);
    check_int(mir__tcp_set_congestion(s.tcp, "reno"), ==, 0);
    check_str(info().congestion, "reno");
    check_int(info().cwnd_bytes, ==, cwnd);
    script_wait(&s, 20000);
    cwnd = lose_one(&end);
    check_int(info().ssthresh_bytes, <=, cwnd / 2 + info().mss);
    end = ack_all(end);
    cwnd = info().cwnd_bytes;
    check_int(mir__tcp_set_congestion(s.tcp, "cubic"), ==, 0);
    check_int(mir__tcp_set_congestion(s.tcp, "cubic"), ==, 0);
    check_int(info().cwnd_bytes, ==, cwnd);
    cwnd = lose_one(&end);
    check_int(cubic()->cwnd_prior, ==, cwnd);
    check_int(info().ssthresh_bytes, >, cwnd / 2 + info().mss / 2);
    script_close(&s);
}

int main(int argc, char **argv)
{
    tap_begin("tcp_cubic");
    uint64_t seed = tap_seed(argc, argv, 1);
    test_k(seed);
    test_window(seed);
    test_hystart();
    test_reactions();
    test_idle();
    test_choice();
    test_change();
    return tap_done();
}
