#pragma once

#include <stddef.h>

// dhkd_keep_memory makes the process keep the memory of large blocks that it frees, in huge pages, as much as it once
// had in use. The user's settings of malloc are left as they are; then it does nothing.
void dhkd_keep_memory(void);

// dhkd_give_back_memory gives what is free now back to the system, once.
void dhkd_give_back_memory(void);

// dhkd_heap_open makes the heap of large blocks, of so many bytes of addresses at most. It is 0 if that cannot be.
// There is one heap.
int dhkd_heap_open(size_t size);

// dhkd_heap_take is a block of the heap that begins with a page, or 0 where none is large enough, the alignment is no
// power of two or more than a huge page, or there is no heap.
void *dhkd_heap_take(size_t alignment, size_t size);

// dhkd_heap_has tells whether the address is the heap's.
int dhkd_heap_has(const void *block);

// dhkd_heap_size is how many bytes a block of the heap has.
size_t dhkd_heap_size(const void *block);

// dhkd_heap_free frees a block of the heap.
void dhkd_heap_free(void *block);

// heap_state is what the heap has: bytes of blocks that are taken, bytes that may be in memory, and free blocks.
typedef struct { size_t live, resident, free_blocks; } heap_state;
heap_state dhkd_heap_state(void);
