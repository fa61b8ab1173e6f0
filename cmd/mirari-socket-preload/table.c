/* SPDX-License-Identifier: ISC */
/* Which descriptors are ours, and what is known of their sockets.
 *
 * One word for each possible descriptor (four megabytes of zero pages, of which a program touches
 * one or two) and a table of sockets with a list of free ones. Both are reached without locks:
 *
 *   - a socket counts its descriptors and the calls that are using it; at zero it goes back to the
 *     list. Its memory never goes away, so a call that comes too late sees another socket at worst,
 *     and finds out by the inode
 *   - the head of the free list carries a count, so that two threads cannot take the same socket
 *   - a word is written by whoever opens, duplicates or closes; a word that outlived its descriptor
 *     is removed by whoever notices that the inode is another. A child of vfork writes none: what
 * it closes and duplicates before its exec is not done to its parent's descriptors
 *
 * The lock of a socket holds the generation of its process: taken in the parent at the moment of a
 * fork, it counts as free in the child.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "cmd/mirari-socket-preload/preload.h"

_Atomic uint32_t pre_table[PRE_FDS];

static struct pre_sock socks[PRE_SOCKS];
static _Atomic uint64_t free_list; /* count << 32 | index + 1; 0 = take a fresh one */
static _Atomic uint32_t fresh;     /* sockets that were ever used */
static _Atomic int fd_end, fd_end_all;

struct pre_sock *pre_sock_new(void)
{
    uint64_t head = atomic_load(&free_list);
    struct pre_sock *s;
    for (;;) {
        uint32_t index = (uint32_t)head;
        if (index == 0) {
            uint32_t n = atomic_fetch_add(&fresh, 1);
            if (n >= PRE_SOCKS) {
                atomic_store(&fresh, PRE_SOCKS);
                return NULL;
            }
            s = &socks[n];
            break;
        }
        s = &socks[index - 1];
        uint64_t next = ((head >> 32) + 1) << 32 | atomic_load(&s->next);
        if (atomic_compare_exchange_weak(&free_list, &head, next))
            break;
    }
    memset(&s->lock, 0, offsetof(struct pre_sock, options) - offsetof(struct pre_sock, lock));
    atomic_store(&s->b_fd, -1);
    atomic_store(&s->b_left, -1);
    atomic_store(&s->refs, 1);
    return s;
}

static void release(struct pre_sock *s)
{
    int b = atomic_exchange(&s->b_fd, -1), left = atomic_exchange(&s->b_left, -1);
    b = b >= 0 ? b : left;
    if (b >= 0 && pre_is_inode(b, s->b_ino)) {
        atomic_store(&pre_table[b], 0);
        pre_real.close(b);
    }
    uint32_t index = (uint32_t)(s - socks) + 1;
    uint64_t head = atomic_load(&free_list);
    do
        atomic_store(&s->next, (uint32_t)head);
    while (!atomic_compare_exchange_weak(&free_list, &head,
                                         ((head >> 32) + 1) << 32 | (uint64_t)index));
}

void pre_put(struct pre_sock *s)
{
    if (atomic_fetch_sub(&s->refs, 1) == 1) {
        int error = errno;
        release(s);
        errno = error;
    }
}

static bool hold(struct pre_sock *s)
{
    uint32_t refs = atomic_load(&s->refs);
    while (refs != 0)
        if (atomic_compare_exchange_weak(&s->refs, &refs, refs + 1))
            return true;
    return false;
}

bool pre_is_inode(int fd, uint64_t ino)
{
    struct stat st;
    int error = errno;
    bool same = fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_ino == ino;
    errno = error;
    return same;
}

static struct pre_sock *sock_of(uint32_t entry)
{
    uint32_t index = entry & PRE_INDEX;
    return index == 0 || (entry & PRE_PRIVATE) ? NULL : &socks[index - 1];
}

struct pre_sock *pre_get(int fd)
{
    uint32_t entry = pre_entry(fd);
    struct pre_sock *s = sock_of(entry);
    if (s == NULL || !hold(s))
        return NULL;
    if (likely(pre_is_inode(fd, s->ino)))
        return s;
    /* Closed where we did not see it, unless the word has changed in the meantime. */
    if (!pre_is_borrowed() && atomic_compare_exchange_strong(&pre_table[fd], &entry, 0))
        pre_put(s);
    pre_put(s);
    return NULL;
}

static uint32_t word_of(struct pre_sock *s)
{
    uint32_t word = (uint32_t)(s - socks) + 1;
    if (pre_has(s, PRE_HOST) ? s->is_udp : s->is_udp || atomic_load(&s->state) != PRE_CONNECTED)
        word |= PRE_DATA;
    return word;
}

static void raise_end(_Atomic int *end, int fd)
{
    int old = atomic_load(end);
    while (old <= fd && !atomic_compare_exchange_weak(end, &old, fd + 1))
        ;
}

void pre_set(int fd, struct pre_sock *s)
{
    if ((unsigned)fd >= PRE_FDS || pre_is_borrowed())
        return;
    atomic_fetch_add(&s->refs, 1);
    struct pre_sock *old = sock_of(atomic_exchange(&pre_table[fd], word_of(s)));
    if (old != NULL)
        pre_put(old);
    raise_end(&fd_end, fd);
    raise_end(&fd_end_all, fd);
}

void pre_forget(int fd)
{
    if (pre_entry(fd) == 0 || pre_is_borrowed())
        return;
    struct pre_sock *old = sock_of(atomic_exchange(&pre_table[fd], 0));
    if (old != NULL)
        pre_put(old);
}

void pre_private(int fd)
{
    if ((unsigned)fd >= PRE_FDS || pre_is_borrowed())
        return;
    struct pre_sock *old = sock_of(atomic_exchange(&pre_table[fd], PRE_PRIVATE));
    if (old != NULL)
        pre_put(old);
    raise_end(&fd_end_all, fd);
}

int pre_fd_end(void)
{
    return atomic_load(&fd_end);
}

int pre_fd_end_all(void)
{
    return atomic_load(&fd_end_all);
}

struct pre_sock *pre_owner_of_b(int fd)
{
    uint32_t n = atomic_load(&fresh);
    for (uint32_t i = 0; i < n && i < PRE_SOCKS; i++)
        if (atomic_load(&socks[i].refs) != 0 && atomic_load(&socks[i].b_fd) == fd &&
            pre_is_inode(fd, socks[i].b_ino))
            return &socks[i];
    return NULL;
}

static bool is_word_of(uint32_t entry, struct pre_sock *s)
{
    return (entry & (PRE_INDEX | PRE_PRIVATE)) == (uint32_t)(s - socks) + 1;
}

void pre_refresh(struct pre_sock *s, int fd)
{
    uint32_t word = word_of(s);
    /* Nearly always there is one descriptor, and this call. */
    bool is_only = atomic_load(&s->refs) <= 2;
    int end = is_only ? fd + 1 : pre_fd_end();
    for (int i = is_only ? fd : 0; i < end; i++) {
        uint32_t entry = pre_entry(i);
        if (is_word_of(entry, s) && entry != word)
            atomic_compare_exchange_strong(&pre_table[i], &entry, word);
    }
}

int pre_replace(struct pre_sock *s, int fd, int new_fd)
{
    bool is_only = atomic_load(&s->refs) <= 2;
    int end = is_only ? fd + 1 : pre_fd_end(), result = 0;
    int status = pre_real.fcntl(fd, F_GETFL);
    if (status >= 0 && (status & (O_NONBLOCK | O_ASYNC)) != 0)
        pre_real.fcntl(new_fd, F_SETFL, status);
    for (int i = is_only ? fd : 0; i < end; i++) {
        if (!is_word_of(pre_entry(i), s) || !pre_is_inode(i, s->ino))
            continue;
        int flags = pre_real.fcntl(i, F_GETFD);
        if (pre_real.dup3(new_fd, i, flags & FD_CLOEXEC ? O_CLOEXEC : 0) < 0)
            result = -errno;
    }
    pre_real.close(new_fd);
    return result;
}

/* ---- the lock of a socket ----------------------------------------------------------------------
 */

/* The system call, not sigprocmask(): that one leaves out the C library's own signals. */
void pre_lock(struct pre_sock *s, struct pre_mask *mask)
{
    uint64_t all = ~0ull;
    uint32_t mine = pre_generation();
    pre_real.syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, &mask->bits, sizeof(all));
    for (;;) {
        uint32_t owner = atomic_load(&s->lock);
        if ((owner == 0 || owner != mine) && atomic_compare_exchange_strong(&s->lock, &owner, mine))
            return;
        sched_yield();
    }
}

void pre_unlock(struct pre_sock *s, const struct pre_mask *mask)
{
    atomic_store(&s->lock, 0);
    pre_real.syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask->bits, NULL, sizeof(mask->bits));
}
