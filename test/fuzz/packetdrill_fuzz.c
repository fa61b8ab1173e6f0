/* SPDX-License-Identifier: ISC */
/* Packet scripts from anybody: read, and if they are scripts, run.
 *
 * The reader must refuse or understand whatever it is given. A script that is one is run on a host
 * of its own, so that calls with wild arguments, packets without a connection and assertions over
 * nothing are met too; its time is virtual. Only scripts of a few lines are run: each needs a host.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "test/packetdrill/script.h"

#define EVENTS_MAX 12

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct pd_settings settings;
    struct pd_script *script = calloc(1, sizeof *script);
    char *text = malloc(size + 1);
    if (script == NULL || text == NULL)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    if (pd_script_parse(script, "fuzz", text, &settings)) {
        int events = 0;
        bool is_short = true;
        for (const struct pd_event *event = script->first; event != NULL; event = event->next) {
            /* A host simulates every second of waiting. */
            is_short = is_short && ++events <= EVENTS_MAX && event->time_us < 20000000;
            is_short = is_short && (!event->call.blocks || event->call.end_us < 20000000);
        }
        if (is_short)
            (void)pd_script_run(script, &settings);
    } else if (script->error[0] == '\0') {
        abort(); /* refused without a word */
    }
    pd_script_free(script);
    free(script);
    free(text);
    return 0;
}
