/* SPDX-License-Identifier: ISC */
/* Rules that choose, socket by socket, which stack serves: the host's or ours.
 *
 *   rules    = rule { ";" rule }                    newlines separate too
 *   rule     = "unix" stack | "default" stack | [ protocol ] [ selector ] stack
 *   protocol = "tcp" | "udp" | "inet"               inet, or none: both
 *   selector = "dst" place | "bind" place
 *   place    = "any" [ ports ] | ":" ports | address [ "/" length ] [ ":" ports ]
 *              | "[" address6 [ "/" length ] "]" [ ":" ports ]
 *   ports    = port [ "-" port ]
 *   stack    = "ours" | "host"
 *
 * The first rule that fits decides. A rule without a selector fits every place. Where none fits:
 * loopback addresses belong to the host (programs talk to helpers there), all else to the stack of
 * "default", which is ours unless a rule says otherwise. IPv4 inside IPv6 counts as IPv4.
 */
#ifndef CMD_SOCKET_RULES_H
#define CMD_SOCKET_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOCK_RULES_MAX 64

enum sock_stack { SOCK_HOST, SOCK_OURS };
enum sock_rule_use { SOCK_RULE_ANY, SOCK_RULE_DST, SOCK_RULE_BIND };

struct sock_rule {
    bool is_tcp, is_udp; /**< protocols it is for */
    uint8_t use;         /**< enum sock_rule_use */
    uint8_t family;      /**< 0 both, 4, 6 */
    uint8_t prefix_len;  /**< bits of ip that count */
    uint8_t stack;       /**< enum sock_stack */
    uint16_t port_min, port_max;
    uint8_t ip[16];
};

struct sock_rules {
    struct sock_rule rule[SOCK_RULES_MAX];
    unsigned count;
    uint8_t default_stack; /**< enum sock_stack */
};

struct sockaddr;

/** No rules: all is ours but loopback. */
void sock_rules_init(struct sock_rules *rules);

/**
 * sock_rules_add() - parse rules and put them behind those that are there.
 *
 * @why gets what is wrong, which word, and what may stand there; [why_size] bytes with the NUL.
 *
 * Returns 0 or -EINVAL (nothing was added), -E2BIG (more than SOCK_RULES_MAX).
 */
int sock_rules_add(struct sock_rules *rules, const char *text, char *why, size_t why_size);

/**
 * sock_rules_initial() - the stack of a socket of which only the protocol is known.
 *
 * Returns that of the first rule for the protocol without a selector, else the default.
 */
enum sock_stack sock_rules_initial(const struct sock_rules *rules, bool is_udp);

/**
 * sock_rules_decide() - the stack for a socket at bind() or at connect().
 *
 * @use  SOCK_RULE_BIND or SOCK_RULE_DST
 * @addr [addr_len] bytes, AF_INET or AF_INET6; anything else goes to the initial stack
 *
 * Returns the stack.
 */
enum sock_stack sock_rules_decide(const struct sock_rules *rules, bool is_udp,
                                  enum sock_rule_use use, const struct sockaddr *addr,
                                  size_t addr_len);

#endif
