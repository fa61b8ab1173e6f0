/* SPDX-License-Identifier: ISC */
/* The notification protocol of vchan, for SPIN: a writer, a reader, a ring of SIZE bytes, wishes and bells.
 *
 * Safety: no deadlock; when the reader ends it has everything. Liveness, if both go on: the reader
 * ends. The explorer (test/explore) runs the code itself through all interleavings but looks for no
 * endless loops; this model is small enough for that.
 *
 * -DHASTY: a reader that finds its peer gone and does not look again. -DDEAF: a reader that does not
 * look again after it asked. Both must fail.
 */
#ifndef SIZE
#define SIZE 2
#endif
#ifndef TOTAL
#define TOTAL 5
#endif

byte prod, cons, got
bool wants_write, wants_read /* "tell me when you have written", "read" */
bool live = true
bool bell_reader, bell_writer
bool is_over

#define THERE (prod - cons)

/* After a change: clear the peer's wish and ring, in one atomic step for the wish. */
inline tell(wish, bell, had)
{
    d_step { had = wish; wish = false }
    if
    :: had -> bell = true
    :: else
    fi
}

active proctype writer()
{
    byte sent, n
    bool had
    do
    :: sent == TOTAL -> break
    :: sent < TOTAL ->
        if
        :: n = SIZE - THERE
        fi
        if
        :: n > 0 ->
            if /* some or all of the room */
            :: n > 1 && TOTAL - sent > 1 -> n = 2
            :: n = 1
            fi
            sent = sent + n
            prod = prod + n
            tell(wants_write, bell_reader, had)
        :: else ->
            wants_read = true
            if
            :: THERE < SIZE
            :: else -> atomic { bell_writer -> bell_writer = false }
            fi
        fi
    od
    live = false
    bell_reader = true
}

active proctype reader()
{
    byte n
    bool had, gone
    do
    :: n = THERE
        if
        :: n > 0 ->
            got = got + n
            cons = cons + n
            tell(wants_read, bell_writer, had)
        :: else ->
            gone = !live
            if
            :: gone ->
#ifdef HASTY
                break
#else
                n = THERE
                if
                :: n == 0 -> break
                :: else
                fi
#endif
            :: else ->
                wants_write = true
#ifndef DEAF
                if
                :: THERE > 0 || !live
                :: else -> atomic { bell_reader -> bell_reader = false }
                fi
#else
                atomic { bell_reader -> bell_reader = false }
#endif
            fi
        fi
    od
    assert(got == TOTAL)
    is_over = true
}

ltl delivered { <> is_over }
