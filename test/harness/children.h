/* SPDX-License-Identifier: ISC */
/* Processes of a test, and what it must not leave open. */
#ifndef TEST_CHILDREN_H
#define TEST_CHILDREN_H

#include <sys/types.h>

/** Another process that does @run; its status is 99 if that returns. */
pid_t child_start(void (*run)(void));
/** Waits for its end. Returns its status, or -1 if it was killed. */
int child_result(pid_t pid);
/** How many descriptors this process has open below 256. */
int open_descriptors(void);

#endif
