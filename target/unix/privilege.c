/* SPDX-License-Identifier: ISC */
/* Gives up what the process no longer needs once its devices are open.
 *
 * Started as root (sudo, for a tap), it becomes the user behind sudo, else "nobody", without
 * groups and capabilities. Started with capabilities only, it loses those. The root of a user
 * namespace that has nobody else (unshare -r) is an ordinary user and loses its capabilities too.
 * Nothing brings them back: no_new_privs is set, and the result is looked at rather than believed.
 */
#include "target/unix/internal.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mirari/format.h>

#define NOBODY 65534u

/* A positive number of the environment that sudo sets, or NOBODY. */
static uint32_t id_of_environment(const char *name)
{
    const char *text = getenv(name);
    uint64_t id;
    if (text == NULL || mir_parse_u64(text, strlen(text), UINT32_MAX - 1, &id) < 0 || id == 0)
        return NOBODY;
    return (uint32_t)id;
}

/* Is our root another user outside, and the only user here? Then there is nobody to become. */
static bool is_lone_user(void)
{
    unsigned inside = 0, outside = 0, count = 0;
    FILE *map = fopen("/proc/self/uid_map", "re");
    if (map == NULL)
        return false;
    int fields = fscanf(map, "%u %u %u", &inside, &outside, &count);
    fclose(map);
    return fields == 3 && inside == 0 && outside != 0 && count == 1;
}

void mir__privilege_identity(struct mir__identity *identity)
{
    identity->is_root = geteuid() == 0 && !is_lone_user();
    identity->uid = identity->is_root ? id_of_environment("SUDO_UID") : getuid();
    identity->gid = identity->is_root ? id_of_environment("SUDO_GID") : getgid();
}

static int set_capabilities(uint32_t kept)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{.effective = kept, .permitted = kept}, {0}};
    return (int)syscall(SYS_capset, &header, data);
}

static int become(const struct mir__identity *identity)
{
    if (setgroups(0, NULL) < 0)
        return -1;
    if (setresgid(identity->gid, identity->gid, identity->gid) < 0)
        return -1;
    return setresuid(identity->uid, identity->uid, identity->uid);
}

int mir__privilege_drop(const struct mir__identity *identity, bool keep_bind,
                        char error[MIR__ERROR_MAX])
{
    uint32_t kept = keep_bind && identity->is_root ? 1u << CAP_NET_BIND_SERVICE : 0;
    const char *step = "no_new_privs";
    int parent_death = 0;
    pid_t parent = getppid();
    (void)prctl(PR_GET_PDEATHSIG, &parent_death, 0, 0, 0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        goto err;
    step = "user and groups";
    if (kept != 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
        goto err;
    if (identity->is_root && become(identity) < 0)
        goto err;
    step = "capabilities";
    if (set_capabilities(kept) < 0)
        goto err;
    if (identity->is_root && (setuid(0) == 0 || geteuid() == 0)) {
        errno = EPERM;
        goto err;
    }
    /* Another identity forgets the signal for the parent's death; `mirari run` relies on it. */
    if (parent_death != 0 && prctl(PR_SET_PDEATHSIG, parent_death, 0, 0, 0) == 0 &&
        getppid() != parent)
        raise(parent_death);
    return 0;
err:
    snprintf(error, MIR__ERROR_MAX,
             "cannot give up privileges (%s): %s; start it as an ordinary user", step,
             strerror(errno));
    return -MIR_EPERM;
}
