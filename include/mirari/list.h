/* SPDX-License-Identifier: ISC */
/* Intrusive doubly linked list with a head; all operations are O(1).
 *
 * A node that is in no list points at itself, so removing it twice is harmless and
 * mir_list_is_linked() tells.
 */
#ifndef MIRARI_LIST_H
#define MIRARI_LIST_H

#include <mirari/base.h>

struct mir_list {
    struct mir_list *next;
    struct mir_list *prev;
};

/** Make @node a member of no list, or a head without members. */
static inline void mir_list_init(struct mir_list *node)
{
    node->next = node;
    node->prev = node;
}

/** True if @node is in a list, or for a head: if the list has members. */
static inline bool mir_list_is_linked(const struct mir_list *node)
{
    return node->next != node;
}

/** True if the list of @head has no members. */
static inline bool mir_list_is_empty(const struct mir_list *head)
{
    return head->next == head;
}

/** Add @node, which is in no list, as the last member. */
static inline void mir_list_push_back(struct mir_list *head, struct mir_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/** Add @node, which is in no list, as the first member. */
static inline void mir_list_push_front(struct mir_list *head, struct mir_list *node)
{
    mir_list_push_back(head->next, node);
}

/** Take @node out of its list; harmless if it is in none. */
static inline void mir_list_remove(struct mir_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    mir_list_init(node);
}

/** The first node, removed; NULL if empty. */
static inline struct mir_list *mir_list_pop_front(struct mir_list *head)
{
    struct mir_list *node = head->next;
    if (node == head)
        return NULL;
    mir_list_remove(node);
    return node;
}

/** Loop over the nodes; @node may be removed inside the loop body, its successor may not. */
#define mir_list_for_each(node, head)                                                              \
    for (struct mir_list *node = (head)->next, *mir__next = node->next; node != (head);            \
         node = mir__next, mir__next = node->next)

#endif
