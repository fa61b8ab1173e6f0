/* SPDX-License-Identifier: ISC */
/* The error table: numbers are fixed for ever, texts and names exist, unknown numbers are safe. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <mirari/base.h>
#include <mirari/err.h>

#include "test/harness/tap.h"

/* Written out a second time on purpose: a number that changes breaks stored logs and peers. */
static const struct {
    int number;
    const char *name;
} fixed[] = {
    {1, "MIR_EAGAIN"},         {2, "MIR_EINVAL"},        {3, "MIR_ENOMEM"},
    {4, "MIR_ELIMIT"},         {5, "MIR_ENOENT"},        {6, "MIR_EEXIST"},
    {7, "MIR_EMALFORMED"},     {8, "MIR_ETRUNCATED"},    {9, "MIR_ECHECKSUM"},
    {10, "MIR_ETOOBIG"},       {11, "MIR_ENOTSUP"},      {12, "MIR_ETIMEDOUT"},
    {13, "MIR_ECANCELED"},     {14, "MIR_EIO"},          {15, "MIR_ECLOSED"},
    {16, "MIR_EEOF"},          {17, "MIR_EPERM"},        {18, "MIR_EBUSY"},
    {19, "MIR_ENOTCONN"},      {20, "MIR_EISCONN"},      {21, "MIR_ECONNREFUSED"},
    {22, "MIR_ECONNRESET"},    {23, "MIR_ECONNABORTED"}, {24, "MIR_EADDRINUSE"},
    {25, "MIR_EADDRNOTAVAIL"}, {26, "MIR_ENETUNREACH"},  {27, "MIR_EHOSTUNREACH"},
    {28, "MIR_ENETDOWN"},      {29, "MIR_EPROTO"},       {30, "MIR_ERANGE"},
};

int main(void)
{
    tap_begin("base_err");

    tap_case("numbers and names are those published");
    for (size_t i = 0; i < MIR_ARRAY_LEN(fixed); i++) {
        check_str(mir_errname(fixed[i].number), fixed[i].name);
        check_str(mir_errname(-fixed[i].number), fixed[i].name);
    }
    check_int(MIR_ARRAY_LEN(fixed), <=, MIR_ERR_MAX - 1);

    tap_case("every error has a text of its own and every number below the maximum is used");
    for (int i = 0; i < MIR_ERR_MAX; i++) {
        check(strcmp(mir_strerror(i), "unknown error") != 0);
        check(strcmp(mir_errname(i), "MIR_?") != 0);
        check(mir_strerror(i) == mir_strerror(-i));
        for (int j = 0; j < i; j++)
            check(strcmp(mir_strerror(i), mir_strerror(j)) != 0);
    }

    tap_case("numbers outside the table are \"unknown error\"");
    const int outside[] = {MIR_ERR_MAX, -MIR_ERR_MAX, 1000, -1000, INT_MAX, INT_MIN, INT_MIN + 1};
    for (size_t i = 0; i < MIR_ARRAY_LEN(outside); i++) {
        check_str(mir_strerror(outside[i]), "unknown error");
        check_str(mir_errname(outside[i]), "MIR_?");
    }

    tap_case("every error has a POSIX number");
#define MIR__X(name, number, text, posix) check_int(posix, >, 0);
    MIR_ERRORS(MIR__X)
#undef MIR__X
    return tap_done();
}
