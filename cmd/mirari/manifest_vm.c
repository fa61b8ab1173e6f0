/* SPDX-License-Identifier: ISC */
/* The sections of a manifest about machines: `vm { }`, how they are run, and `disk NAME { }` and
 * `channel NAME { }`, which disks and channels the appliance knows by name.
 *
 * The first named disk is the first one of the machine, and so on. What file or device it is,
 * vm.disk or the command line of `mirari run` say: an image does not depend on that.
 */
#include <string.h>

#include "cmd/mirari/reader.h"

/* Returns false after a message. */
static bool read_flag(struct reader *r, const struct conf_node *section,
                      const struct conf_node *node, bool *value)
{
    struct why why;
    const char *text = reader_is_first(r, section, node) ? reader_scalar(r, node) : NULL;
    if (text == NULL || valid_bool(text, value, &why))
        return true;
    diag_error(r->diag, node->line, "%s", why.text);
    return false;
}

void reader_vm(struct reader *r, const struct conf_node *section)
{
    static const char *const keys[] = {"machine", "cpu", "accel", "disk", "control"};
    bool (*const checks[])(const char *, struct why *) = {valid_machine, valid_cpu, valid_accel};
    struct manifest_vm *vm = &r->manifest->vm;
    struct field *const fields[] = {&vm->machine, &vm->cpu, &vm->accel};
    struct why why;
    if (section->kind != CONF_OBJECT) {
        diag_error(r->diag, section->line, "\"vm\" is a section; write vm { machine = q35 }");
        return;
    }
    vm->line = section->line;
    for (const struct conf_node *node = section->child; node != NULL; node = node->next) {
        size_t i = 0;
        while (i < LEN(keys) && strcmp(node->key, keys[i]) != 0)
            i++;
        if (i == LEN(keys)) {
            reader_unknown_key(r, node, keys, LEN(keys), "vm");
        } else if (i == LEN(fields)) {
            reader_entries(r, node, " \t", &vm->disks);
        } else if (i == LEN(fields) + 1) {
            (void)read_flag(r, section, node, &vm->has_control);
        } else if (reader_is_first(r, section, node)) {
            *fields[i] = reader_field(r, node);
            if (fields[i]->text != NULL && !checks[i](fields[i]->text, &why))
                diag_error(r->diag, node->line, "%s", why.text);
        }
    }
    for (size_t i = 0; i < vm->disks.count; i++)
        if (!valid_disk(vm->disks.item[i], &why))
            diag_error(r->diag, section->line, "%s", why.text);
}

void reader_disk(struct reader *r, const struct conf_node *section)
{
    static const char *const keys[] = {"optional", "readonly"};
    struct manifest *m = r->manifest;
    struct manifest_disk disk = {.line = section->line};
    struct why why;
    bool good = section->kind == CONF_OBJECT;
    if (!good) {
        diag_error(r->diag, section->line,
                   "\"disk\" is a section with a name; write disk NAME { }");
        return;
    }
    for (const struct conf_node *node = section->child; node != NULL; node = node->next) {
        if (strcmp(node->key, keys[0]) == 0)
            good = read_flag(r, section, node, &disk.is_optional) && good;
        else if (strcmp(node->key, keys[1]) == 0)
            good = read_flag(r, section, node, &disk.is_readonly) && good;
        else
            reader_unknown_key(r, node, keys, LEN(keys), "disk NAME");
    }
    if (!valid_label(section->key, &why)) {
        diag_error(r->diag, section->line, "%s", why.text);
        return;
    }
    for (size_t i = 0; i < m->disk_count; i++) {
        if (strcmp(m->disk[i].name, section->key) != 0)
            continue;
        diag_error(r->diag, section->line, "disk \"%s\" is there already, on line %d; remove one",
                   section->key, m->disk[i].line);
        return;
    }
    if (m->disk_count == MANIFEST_DISKS_MAX) {
        diag_error(r->diag, section->line, "more than %d disks; remove some", MANIFEST_DISKS_MAX);
        return;
    }
    disk.name = need_text(section->key, strlen(section->key));
    m->disk[m->disk_count++] = disk;
}

void reader_channel(struct reader *r, const struct conf_node *section)
{
    static const char *const keys[] = {"optional"};
    struct manifest *m = r->manifest;
    struct manifest_channel channel = {.line = section->line};
    struct why why;
    if (section->kind != CONF_OBJECT) {
        diag_error(r->diag, section->line,
                   "\"channel\" is a section with a name; write channel NAME { }");
        return;
    }
    for (const struct conf_node *node = section->child; node != NULL; node = node->next) {
        if (strcmp(node->key, keys[0]) == 0)
            (void)read_flag(r, section, node, &channel.is_optional);
        else
            reader_unknown_key(r, node, keys, LEN(keys), "channel NAME");
    }
    if (!valid_label(section->key, &why)) {
        diag_error(r->diag, section->line, "%s", why.text);
        return;
    }
    for (size_t i = 0; i < m->channel_count; i++) {
        if (strcmp(m->channel[i].name, section->key) != 0)
            continue;
        diag_error(r->diag, section->line,
                   "channel \"%s\" is there already, on line %d; remove one", section->key,
                   m->channel[i].line);
        return;
    }
    if (m->channel_count == MANIFEST_CHANNELS_MAX) {
        diag_error(r->diag, section->line, "more than %d channels; remove some",
                   MANIFEST_CHANNELS_MAX);
        return;
    }
    channel.name = need_text(section->key, strlen(section->key));
    m->channel[m->channel_count++] = channel;
}
