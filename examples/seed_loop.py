"""The loop of the question that this project began with; `seed_loop.py` is the same with Balance.

Only `.cuda()` was removed from it, where `device` says it already.
"""

import torch
from torch import nn

import counterpoise as cp
from seed_setup import prepare

setup = prepare()
generator, discriminator, device = setup.generator, setup.discriminator, setup.device
optim_g, optim_d = setup.optim_g, setup.optim_d
lossT = False
criterion = nn.BCELoss()
balance = cp.Balance(generator, discriminator, optim_g, optim_d, **setup.balance, check=True)

for image, target in setup.batches:
    train_d = False
    # Discriminator true
    balance.d_step()
    optim_d.zero_grad()
    disc_train_real = target.to(device)
    batch_size = disc_train_real.size(0)
    label = torch.full((batch_size,), 1.0, device=device)
    output_d = discriminator(disc_train_real).view(-1)
    loss_d_real = criterion(output_d, label)
    if lossT:
        loss_d_real *= 2
    if loss_d_real.item() > 0:
        loss_d_real.backward()
        train_d = True
    D_x = output_d.mean().item()
    # Discriminator false
    output_g = generator(image)
    output_d = discriminator(output_g.detach()).view(-1)
    label.fill_(0)
    loss_d_fake = criterion(output_d, label)
    D_G_z1 = output_d.mean().item()
    if lossT:
        loss_d_fake *= 2
    loss_d = loss_d_real + loss_d_fake
    if loss_d_fake.item() > 0:
        loss_d_fake.backward()
        train_d = True
    if train_d:
        optim_d.step()

    # Generator
    balance.g_step()
    label.fill_(1)
    output_d = discriminator(output_g).view(-1)
    loss_g = criterion(output_d, label)
    D_G_z2 = output_d.mean().item()
    if lossT:
        loss_g *= 2

    loss_g.backward()
    optim_g.step()
