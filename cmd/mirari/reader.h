/* SPDX-License-Identifier: ISC */
/* What the files that read manifests share. */
#ifndef CMD_MIRARI_READER_H
#define CMD_MIRARI_READER_H

#include "cmd/mirari/tool.h"

struct reader {
    struct manifest *manifest;
    struct diag *diag;
    bool look_at_files;
    /* Nodes of the old keys, looked at when all are known. */
    const struct conf_node *use_dhcp, *address, *netmask, *gateway;
    const struct conf_node *http_port, *http_address, *main;
    bool main_is_noip, main_is_http;
};

/** The text of a scalar, or NULL with a message. */
const char *reader_scalar(struct reader *r, const struct conf_node *node);
/** False, with a message, if an earlier sibling has the same key. */
bool reader_is_first(struct reader *r, const struct conf_node *parent,
                     const struct conf_node *node);
void reader_unknown_key(struct reader *r, const struct conf_node *node, const char *const *names,
                        size_t count, const char *where);
/** Entries of a list: an array, or one text split at blanks or commas. */
void reader_entries(struct reader *r, const struct conf_node *node, const char *separators,
                    struct list *list);
struct field reader_field(struct reader *r, const struct conf_node *node);

/** manifest_vm.c: the sections `vm { }` and `disk NAME { }`. */
void reader_vm(struct reader *r, const struct conf_node *section);
void reader_disk(struct reader *r, const struct conf_node *section);
void reader_channel(struct reader *r, const struct conf_node *section);

#endif
