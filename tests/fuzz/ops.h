/* SPDX-License-Identifier: MIT */
#ifndef OPS_H
#define OPS_H

struct thread;
struct client;

int op_mmap(struct thread *t, struct client *c);
int op_munmap(struct thread *t, struct client *c);
int op_touch(struct thread *t, struct client *c);
int op_syscall(struct thread *t, struct client *c);
int op_mmu(struct thread *t, struct client *c);
int op_close_fd(struct thread *t, struct client *c);
int op_sync_file(struct thread *t, struct client *c);
int op_eventfd(struct thread *t, struct client *c);
int op_sw_sync(struct thread *t, struct client *c);
int op_udmabuf(struct thread *t, struct client *c);
int op_read(struct thread *t, struct client *c);
int op_reopen(struct thread *t, struct client *c);
int op_fork(struct thread *t, struct client *c);

#endif
