/* SPDX-License-Identifier: ISC */
/* The peer's window: which segment's promise counts, and that nothing is sent beyond it. */
#include "test/harness/tcp_script.h"

static struct tcp_script s;

/* Ten full segments are out, the peer has promised up to 14601 + 1000 with the ACK of all of them.
 */
static void fill_window(void)
{
    script_open(&s, NULL);
    script_accept(&s);
    script_send(&s, 40000);
    for (uint32_t i = 0; i < 10; i++)
        out(&s, "A", 1 + i * 1460, 1, 1460);
    /* What the peer sends as number 101 overtakes what comes before it. */
    s.wnd = 14600;
    in(&s, "A", 101, 1, 0);
}

static void test_order(void)
{
    tap_case("a window in a segment that is old by its number but acknowledges more is taken");
    fill_window();
    s.wnd = 0; /* the right edge stays at 14601 */
    in(&s, "PA", 1, 14601, 100);
    out(&s, "A", 14601, 101, 0);
    quiet(&s);
    script_close(&s);

    tap_case("the window of a segment that acknowledges less than another is not");
    fill_window();
    s.wnd = 1460;
    in(&s, "A", 101, 14601, 0);
    out(&s, "A", 14601, 1, 1460);
    s.wnd = 65535;
    in(&s, "A", 101, 13141, 0);
    quiet(&s);
    script_close(&s);

    tap_case("of two that acknowledge the same, the one with the higher number counts");
    fill_window();
    s.wnd = 0;
    in(&s, "A", 101, 14601, 0);
    quiet(&s);
    s.wnd = 65535;
    in(&s, "A", 1, 14601, 0);
    quiet(&s);
    in(&s, "A", 101, 14601, 0);
    check(script_next(&s));
    check_int(s.hdr.seq - s.our_isn, ==, 14601);
    script_close(&s);
}

int main(void)
{
    tap_begin("tcp_window");
    test_order();
    return tap_done();
}
