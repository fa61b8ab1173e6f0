/* SPDX-License-Identifier: ISC */
/* Event indices of Xen's ring, for SPIN: a front that publishes requests in batches, a back that answers
 * them; each sleeps only after it has said from which index on it wants to be told.
 *
 * Safety: no deadlock, never more than SLOTS in flight. Liveness: all TOTAL requests are answered and
 * the front hears of it. Indices are bytes that wrap around (START), as the 32-bit ones do.
 *
 * -DDEAF: a back that does not look again after it has set its event. -DLATE: a front that decides
 * about the notification before it publishes. Both must fail.
 */
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef TOTAL
#define TOTAL 5
#endif
#ifndef START
#define START 254
#endif

byte req_prod = START, rsp_prod = START
byte req_event = START + 1 - 256 * (START / 255), rsp_event = START + 1 - 256 * (START / 255)
bool bell_front, bell_back
bool is_over

#define DIFF(a, b) (((a) - (b)) & 255)

inline publish(prod, to, event, bell, before, wants)
{
#ifdef LATE
    wants = DIFF(to, event) < DIFF(to, prod)
    prod = to
#else
    before = prod
    prod = to
    wants = DIFF(to, event) < DIFF(to, before)
#endif
    if
    :: wants -> bell = true
    :: else
    fi
}

active proctype front()
{
    byte pvt = START, taken = START, sent, heard, before
    bool wants
    do
    :: heard == TOTAL -> break
    :: sent < TOTAL && DIFF(pvt, taken) < SLOTS ->
        pvt = (pvt + 1) & 255
        sent++
        if /* a batch of two, where there is room */
        :: sent < TOTAL && DIFF(pvt, taken) < SLOTS ->
            pvt = (pvt + 1) & 255
            sent++
        :: skip
        fi
        publish(req_prod, pvt, req_event, bell_back, before, wants)
    :: taken != rsp_prod ->
        taken = (taken + 1) & 255
        heard++
    :: heard < TOTAL && taken == rsp_prod && !(sent < TOTAL && DIFF(pvt, taken) < SLOTS) ->
        rsp_event = (taken + 1) & 255
        if
        :: taken != rsp_prod
        :: else -> atomic { bell_front -> bell_front = false }
        fi
    od
    is_over = true
}

active proctype back()
{
    byte pvt = START, taken = START, before
    bool wants
end:
    do
    :: taken != req_prod ->
        assert(DIFF(req_prod, pvt) <= SLOTS)
        taken = (taken + 1) & 255
        if
        :: taken != req_prod -> taken = (taken + 1) & 255
        :: skip
        fi
        pvt = taken
        publish(rsp_prod, pvt, rsp_event, bell_front, before, wants)
    :: taken == req_prod ->
        req_event = (taken + 1) & 255
#ifndef DEAF
        if
        :: taken != req_prod
        :: else ->
end_asleep:  atomic { bell_back -> bell_back = false }
        fi
#else
end_deaf:
        atomic { bell_back -> bell_back = false }
#endif
    od
}

ltl answered { <> is_over }
