/* SPDX-License-Identifier: ISC */
/* Methods for tests: what `mirari test` and other drivers ask an appliance to do.
 *
 * They are in an appliance only if its manifest says `testable = true`, or its code calls
 * mir_testing_add(). They belong to the full role of the control channel; whoever has it could end
 * the appliance anyway. docs/howto/test.md lists them:
 *
 *   test.serve     answer on a port: echo or discard, TCP and UDP
 *   test.services  what the servers have seen
 *   test.echo      send to an echo service, compare what comes back
 *   test.send      send over TCP to somebody who reads
 *   test.get       pages over HTTP
 *   test.resolve   addresses of a name
 *   test.log       a line in the log
 *   test.crash, test.hang   the end of everything, to see who notices
 */
#ifndef MIRARI_TESTING_H
#define MIRARI_TESTING_H

#include <mirari/app.h>

/**
 * mir_testing_add() - add the methods test.* to the control channel.
 *
 * Takes one page run of the appliance, until it ends. Without a control channel or memory nothing
 * happens.
 *
 * Returns nothing.
 * Source  none
 */
void mir_testing_add(struct mir_app *app);

#endif
